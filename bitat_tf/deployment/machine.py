"""The machine on which something was measured."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("bitat_tf", "larq-compute-engine", "bitat-runtime", "tensorflow", "numpy")
_ARM64 = ("aarch64", "arm64")


@dataclass(frozen=True)
class Machine:
    """What figures of speed depend on.

    Attributes:
        cpu: Name of its model.
        architecture: "x86_64", "aarch64", ...
        system: Name and release of the operating system.
        cores: Number of cores that this process may use.
        load: Programs that wanted to run, on average over the last minute; None where the system does not count them.
        versions: Of Python and the packages that are installed.
    """

    cpu: str
    architecture: str
    system: str
    cores: int
    load: float | None
    versions: dict[str, str]

    @property
    def arm64(self) -> bool:
        """Whether it is what the kernels of larq-compute-engine are made for."""
        return self.architecture.lower() in _ARM64


def this_machine() -> Machine:
    """Return the machine as it is now.

    Examples:
        >>> this_machine().cores >= 1
        True
    """
    architecture = platform.machine()
    return Machine(
        cpu=_cpu_name() or platform.processor() or architecture,
        architecture=architecture,
        system=f"{platform.system()} {platform.release()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        versions={"python": platform.python_version(), **_versions()},
    )


def _versions() -> dict[str, str]:
    """Return the versions of those packages that are installed: bitat-runtime need not be."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    """Return the name where Linux and macOS keep it; empty if it is not there."""
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return ""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware", "model\t"))]
    # On x86 "model" is a number, and on ARM the name of the board.
    return next((name for name in names if not name.isdigit()), "")
