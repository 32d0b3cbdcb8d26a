"""Builds the wheels of bitat-runtime for x86-64 and 64-bit ARM Linux and checks what is in them.

    python runtime/tools/build_wheels.py dist

The wheel of the other processor is cross-compiled. Each wheel is named after the oldest glibc on which its library loads:
the symbols are taken from stand-ins of that glibc (`old_glibc.py`), and what the library then demands is read from it.
Needs g++, g++-aarch64-linux-gnu, binutils, and the Python packages pip and wheel.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from elf import Library
from old_glibc import linker_flags

_RUNTIME = Path(__file__).resolve().parents[1]
_HEADER = _RUNTIME / "include/bitat_delegate.h"
_LIBRARY = "bitat_runtime/libbitat_delegate.so"
MACHINES = ("x86_64", "aarch64")
GLIBC = "2.17"  # the oldest there is for both processors: manylinux2014


class BuildError(RuntimeError):
    """A wheel cannot be built, or may not be given to others; the message says why."""


def compiler_for(machine: str) -> str:
    """Return the name of the C++ compiler for a processor: of this machine, or Debian's cross compiler."""
    return "g++" if machine == platform.machine() else f"{machine}-linux-gnu-g++"


def build_wheel(machine: str, folder: Path, glibc: str = GLIBC) -> Path:
    """Build the wheel of a processor into a folder and return its path.

    Args:
        machine: "x86_64" or "aarch64".
        folder: Made if it is not there. A wheel of the same name is replaced.
        glibc: The oldest glibc that the library shall run on.

    Raises:
        BuildError: A program is missing, the library does not compile, or it is not what a wheel may hold.
    """
    compiler = compiler_for(machine)
    cross = machine != platform.machine()
    toolchain = _RUNTIME / f"cmake/{machine}-linux-gnu.cmake"
    if cross and not toolchain.is_file():
        raise BuildError(f"There is no {toolchain} to compile for {machine} on {platform.machine()} with.")
    if shutil.which(compiler) is None:
        raise BuildError(f"There is no {compiler}. Install it: apt-get install g++-{machine.replace('_', '-')}-linux-gnu")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        flags = " ".join(["-Wl,-z,defs", *linker_flags(compiler, glibc, work / "glibc")])
        defines = {"CMAKE_SHARED_LINKER_FLAGS": flags, "CMAKE_CXX_COMPILER": compiler}
        if cross:
            defines["CMAKE_TOOLCHAIN_FILE"] = str(toolchain)
        built = _pip_wheel(defines, work / "wheel")
        with zipfile.ZipFile(built) as archive:
            if _LIBRARY not in archive.namelist():
                raise BuildError(f"{built.name} holds no {_LIBRARY}. Expected it among {archive.namelist()}.")
            library = Library.read(Path(archive.extract(_LIBRARY, work)))
        if problems := library.problems(_HEADER):
            raise BuildError("\n".join([f"The library of {machine} may not be given to others:", *problems]))
        if library.machine != machine:
            raise BuildError(f"The library is for {library.machine}. Expected {machine}: does {compiler} compile for it?")
        return _retag(built, library.platform_tag, folder)


def _pip_wheel(defines: dict[str, str], folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--disable-pip-version-check"]
    command += [f"--config-settings=cmake.define.{name}={value}" for name, value in defines.items()]
    done = subprocess.run([*command, "--wheel-dir", str(folder), str(_RUNTIME)], text=True, capture_output=True)
    # Without a working compiler there still is a wheel, for any processor: a package that tells how to get the library.
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1 or wheels[0].stem.endswith("-any"):
        raise BuildError(f"The library does not compile:\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}")
    return wheels[0]


def _retag(wheel: Path, platform_tag: str, folder: Path) -> Path:
    """Give a wheel another platform, in its name and inside, and move it."""
    command = [sys.executable, "-m", "wheel", "tags", "--remove", f"--platform-tag={platform_tag}", str(wheel)]
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode != 0:
        raise BuildError(f"`{' '.join(command)}` failed. Is the package wheel installed?\n{done.stderr}")
    (renamed,) = wheel.parent.glob("*.whl")
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(renamed, folder / renamed.name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the wheels from the command line and return the exit code: 1 if one could not be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the wheels go")
    parser.add_argument("--machine", action="append", choices=MACHINES, help="only this one (default: both)")
    parser.add_argument("--glibc", default=GLIBC, help=f"the oldest glibc to run on (default: {GLIBC})")
    options = parser.parse_args(arguments)
    for machine in options.machine or MACHINES:
        try:
            print(build_wheel(machine, options.folder, options.glibc))
        except BuildError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
