"""Lets a compiler of today link libraries that run on an older glibc.

The linker binds every symbol to the newest version that the glibc of the building machine has, and such a library does not
load on an older one. glibc keeps the older versions of all symbols, though. Here stand-ins of its libraries are made that
have, for every symbol, only the newest version that the old glibc had too. They hold no code: they are linked against,
never loaded. A symbol that came later is not in them, so that its use is an error of the linker and not of a user.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_SHIM = Path(__file__).with_name("old_glibc.cc")
_MERGED = (2, 34)  # the glibc in which the functions of libpthread moved to libc

Version = tuple[int, ...]


class Symbol(NamedTuple):
    """A symbol of a dynamic library: its kind in words of readelf, its name and its version."""

    kind: str
    name: str
    version: str


def version_of(text: str) -> Version:
    """Return "GLIBC_2.2.5" or "2.2.5" as (2, 2, 5)."""
    return tuple(map(int, text.removeprefix("GLIBC_").split(".")))


def linker_flags(compiler: str, glibc: str, folder: Path) -> list[str]:
    """Make stand-ins of a compiler's C libraries and return the flags with which a shared library is linked to them.

    Args:
        compiler: A g++, of this machine or a cross compiler, with a glibc of 2.34 or later.
        glibc: The oldest version that the library shall run on: "2.27".
        folder: Where the stand-ins are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    libc = _symbols(_library(compiler, "libc.so.6"))
    names = {s.name for s in libc if version_of(s.version) == _MERGED and re.match("_*(pthread|sem)_", s.name)}
    threads = {s for s in libc if s.name in names}
    _stand_in(compiler, folder, "libpthread.so.0", threads, glibc)
    _stand_in(compiler, folder, "libc.so.6", libc - threads, glibc)
    _stand_in(compiler, folder, "libm.so.6", _symbols(_library(compiler, "libm.so.6")), glibc)
    # The linker finds these names first. Some functions of libc are in a static library, those of threads in the loader.
    loader = next(filter(Path.is_file, (_library(compiler, n) for n in ("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"))))
    static = _library(compiler, "libc_nonshared.a")
    (folder / "libc.so").write_text(f"GROUP({folder / 'libc.so.6'} {static} AS_NEEDED({loader}))\n")
    (folder / "libm.so").write_text(f"GROUP({folder / 'libm.so.6'})\n")
    shim = folder / "old_glibc.o"
    _run(compiler, "-c", "-O2", "-std=c++17", "-fPIC", "-fno-exceptions", str(_SHIM), "-o", str(shim))
    # libpthread by its full name: a glibc of today has none to link to, an old one needs it.
    threads_library = folder / "libpthread.so.0"
    return [f"-L{folder}", str(shim), f"-Wl,--push-state,--no-as-needed,{threads_library},--pop-state"]


def _symbols(library: Path) -> set[Symbol]:
    """Return the symbols that a C library defines for everyone, in all their versions."""
    found = set()
    for line in _run("readelf", "--dyn-syms", "--wide", str(library)).splitlines():
        # Num: Value Size Type Bind Visibility Index Name@@Version; private versions are for glibc itself
        match = re.match(r"\s*\d+: \w+\s+\w+ (FUNC|IFUNC|OBJECT)\s+\w+\s+\w+\s+(?!UND|ABS)\w+ (\w+)@@?(GLIBC_[\d.]+)", line)
        if match:
            found.add(Symbol(*match.groups()))
    return found


def _stand_in(compiler: str, folder: Path, name: str, symbols: Iterable[Symbol], glibc: str) -> None:
    chosen: dict[str, Symbol] = {}
    for symbol in symbols:
        if version_of(symbol.version) <= version_of(glibc):
            best = chosen.get(symbol.name)
            if best is None or version_of(best.version) < version_of(symbol.version):
                chosen[symbol.name] = symbol
    code: list[str] = []
    versions: dict[str, list[str]] = {}
    for symbol in sorted(chosen.values(), key=lambda s: s.name):
        section, kind = (".data", "%object") if symbol.kind == "OBJECT" else (".text", "%function")
        code.append(f"{section}\n.globl {symbol.name}\n.type {symbol.name},{kind}\n{symbol.name}: .byte 0\n")
        versions.setdefault(symbol.version, []).append(symbol.name)
    (folder / f"{name}.s").write_text("".join(code) + '.section .note.GNU-stack,"",%progbits\n')
    nodes = [f"{version} {{ global: {'; '.join(versions[version])}; }};\n" for version in sorted(versions, key=version_of)]
    (folder / f"{name}.map").write_text("".join(nodes))
    soname, script = f"-Wl,-soname,{name}", f"-Wl,--version-script={folder / name}.map"
    _run(compiler, "-shared", "-nostdlib", soname, script, f"{folder / name}.s", "-o", str(folder / name))


def _library(compiler: str, name: str) -> Path:
    return Path(_run(compiler, f"-print-file-name={name}").strip())


def _run(*command: str) -> str:
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout
