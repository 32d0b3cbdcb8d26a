"""What a shared library demands and shows, as readelf tells it, and the tag that a wheel with it may have."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Libraries that PEP 599 and 600 let a manylinux wheel expect, as far as this one may: those of the C language.
_ALLOWED = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
_PAGE = 0x4000  # Android and some ARM Linux systems have pages of 16 KB
_OLDEST = (2, 17)  # no manylinux is older on these processors
_MACHINES = {"Advanced Micro Devices X86-64": "x86_64", "AArch64": "aarch64"}


@dataclass(frozen=True)
class Library:
    """A shared library.

    Attributes:
        machine: "x86_64" or "aarch64".
        needed: The libraries that it asks the loader for.
        undefined: The symbols that others must define, with their versions: "memcpy@GLIBC_2.14". Weak ones are left out.
        exported: The symbols that it shows.
        alignments: Of the segments that are loaded.
        executable_stack: Whether it asks for one.
    """

    machine: str
    needed: frozenset[str]
    undefined: frozenset[str]
    exported: frozenset[str]
    alignments: tuple[int, ...]
    executable_stack: bool

    @classmethod
    def read(cls, path: Path) -> Library:
        """Read a library with readelf."""
        text = _readelf("--file-header", "--dynamic", "--segments", path)
        machine = re.search(r"Machine:\s+(.+)", text)
        undefined, exported = set(), set()
        for line in _readelf("--dyn-syms", path).splitlines():
            # Num: Value Size Type Bind Visibility Index Name@Version (number of the version)
            match = re.match(r"\s*\d+: \w+\s+\w+ \w+\s+(\w+)\s+\w+\s+(\w+) (\S+)", line)
            if not match or match[1] == "LOCAL":
                continue
            if match[2] != "UND":
                exported.add(match[3].split("@")[0])
            elif match[1] != "WEAK":
                undefined.add(match[3])
        segments = re.findall(r"^\s*(LOAD|GNU_STACK)\s(.+)$", text, re.MULTILINE)
        return cls(
            machine=_MACHINES.get(machine[1].strip(), machine[1].strip()) if machine else "unknown",
            needed=frozenset(re.findall(r"\(NEEDED\).*\[(.+)\]", text)),
            undefined=frozenset(undefined),
            exported=frozenset(exported),
            alignments=tuple(int(line.split()[-1], 16) for kind, line in segments if kind == "LOAD"),
            executable_stack=any("E" in line.split()[5] for kind, line in segments if kind == "GNU_STACK"),
        )

    @property
    def glibc(self) -> tuple[int, int]:
        """The oldest glibc that has all that it demands: (2, 27)."""
        versions = re.findall(r"@GLIBC_(\d+)\.(\d+)", " ".join(self.undefined))
        return max([_OLDEST, *((int(major), int(minor)) for major, minor in versions)])

    @property
    def platform_tag(self) -> str:
        """The platform of a wheel with this library (PEP 600): `manylinux_2_27_x86_64`."""
        return "manylinux_{}_{}_{}".format(*self.glibc, self.machine)

    def problems(self, header: Path) -> list[str]:
        """Return what forbids to give the library to others, in sentences; [] if nothing.

        Args:
            header: The C header that declares what the library is to show, marked by BITAT_EXPORT.
        """
        found = []
        if foreign := self.needed - _ALLOWED:
            found.append(f"It needs the libraries {sorted(foreign)}. Only {sorted(_ALLOWED)} are on every Linux.")
        if private := {name for name in self.undefined if "@GLIBC_" not in name or "@GLIBC_PRIVATE" in name}:
            found.append(f"It uses the symbols {sorted(private)[:9]}, which are not the C library's public ones.")
        if small := [hex(alignment) for alignment in self.alignments if alignment < _PAGE]:
            found.append(f"Its segments are aligned to {small} bytes. Expected {hex(_PAGE)}: -Wl,-z,max-page-size=16384.")
        declared = set(re.findall(r"^BITAT_EXPORT[^;{]*?(\w+)\(", header.read_text(), re.MULTILINE))
        if extra := self.exported - declared:
            found.append(f"It shows {len(extra)} symbols that {header.name} does not declare, such as {sorted(extra)[:3]}.")
        if missing := declared - self.exported:
            found.append(f"It does not show {sorted(missing)}, which {header.name} declares.")
        if self.executable_stack:
            found.append("It asks for an executable stack, which some systems refuse: -Wl,-z,noexecstack.")
        return found


def _readelf(*arguments: str | Path) -> str:
    return subprocess.run(["readelf", "--wide", *map(str, arguments)], text=True, capture_output=True, check=True).stdout
