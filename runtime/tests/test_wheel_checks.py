"""The checks that a wheel passes before it is given to others find what they are for."""

import shutil
import subprocess

import pytest
from conftest import RUNTIME
from elf import Library
from old_glibc import linker_flags, version_of

HEADER = RUNTIME / "include/bitat_delegate.h"
# The glibc in which pthread_create first had the version that old programs are bound to: the first of each processor.
FIRST_GLIBC = {"g++": "GLIBC_2.2.5", "aarch64-linux-gnu-g++": "GLIBC_2.17"}

compilers = pytest.mark.parametrize(
    "compiler",
    [pytest.param(c, marks=pytest.mark.skipif(shutil.which(c) is None, reason=f"there is no {c}")) for c in FIRST_GLIBC],
)

USES_THREADS = """
#include <pthread.h>
#include <string.h>
extern "C" int bitat_start(char* to, const char* from, size_t size, void* (*run)(void*)) {
  pthread_t thread;
  memcpy(to, from, size);
  try { return pthread_create(&thread, nullptr, run, nullptr); } catch (int number) { return number; }
}
"""


def link(compiler, folder, code, *flags):
    (folder / "code.cc").write_text(code)
    # The flags come first, as CMake has them.
    command = [compiler, "-shared", "-fPIC", "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", *flags]
    done = subprocess.run([*command, str(folder / "code.cc"), "-o", str(folder / "lib.so")], capture_output=True, text=True)
    return Library.read(folder / "lib.so") if done.returncode == 0 else done.stderr


@compilers
def test_a_library_is_bound_to_the_old_glibc(compiler, tmp_path):
    flags = linker_flags(compiler, "2.17", tmp_path / "glibc")
    library = link(compiler, tmp_path, USES_THREADS, "-Wl,-z,defs", *flags)
    assert library.glibc == (2, 17)
    assert f"pthread_create@{FIRST_GLIBC[compiler]}" in library.undefined
    assert "libpthread.so.0" in library.needed  # where an old glibc has it
    assert library.machine == ("aarch64" if "aarch64" in compiler else "x86_64")
    assert library.platform_tag == f"manylinux_2_17_{library.machine}"
    # Without the stand-ins it is bound to the glibc of this machine: the unwinder in libgcc needs 2.35 where there is one.
    assert link(compiler, tmp_path, USES_THREADS).glibc > (2, 17)


@compilers
def test_what_the_old_glibc_lacks_does_not_link(compiler, tmp_path):
    code = '#include <stdlib.h>\nextern "C" char* bitat_get(const char* name) { return secure_getenv(name); }'
    assert link(compiler, tmp_path, code, "-Wl,-z,defs", *linker_flags(compiler, "2.27", tmp_path / "new")).glibc == (2, 17)
    code = '#include <threads.h>\nextern "C" int bitat_equal(thrd_t a, thrd_t b) { return thrd_equal(a, b); }'
    assert link(compiler, tmp_path, code, "-Wl,-z,defs", *linker_flags(compiler, "2.28", tmp_path / "newer")).glibc == (2, 28)
    assert "undefined reference to `thrd_equal'" in link(
        compiler, tmp_path, code, "-Wl,-z,defs", *linker_flags(compiler, "2.27", tmp_path / "new")
    )


@compilers
@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["-Wl,-z,max-page-size=4096"], "segments are aligned to"),
        (
            ["-Wl,-z,max-page-size=16384", "-shared-libgcc", "-lgcc_s"],
            "It needs the libraries ['libgcc_s.so.1']",
        ),
        (["-Wl,-z,max-page-size=16384", "-z", "execstack"], "asks for an executable stack"),
        (["-Wl,-z,max-page-size=16384"], "It shows 1 symbols that bitat_delegate.h does not declare, such as ['bitat_start']"),
        (["-Wl,-z,max-page-size=16384"], "It does not show ['bitat_kernel', "),
        (["-Wl,-z,max-page-size=16384", "-DUNDEFINED"], "It uses the symbols ['from_nowhere'], which are not the C library's"),
    ],
)
def test_every_problem_of_a_library_is_found(compiler, flags, problem, tmp_path):
    code = USES_THREADS + "#ifdef UNDEFINED\nextern int from_nowhere();\nint bitat_more() { return from_nowhere(); }\n#endif\n"
    code = code.replace("extern int from_nowhere", 'extern "C" int from_nowhere')
    problems = link(compiler, tmp_path, code, "-Wl,--no-as-needed", *flags).problems(HEADER)
    assert any(problem in text for text in problems), problems


def test_versions_are_compared_as_numbers():
    assert version_of("GLIBC_2.2.5") < version_of("GLIBC_2.3") < version_of("2.17") < version_of("2.34")
