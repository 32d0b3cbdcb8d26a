"""Prepares a folder in which aarch64 wheels run on an x86 machine: stock CPython, numpy and LiteRT under qemu-user.

    python runtime/tools/qemu_root.py ~/.cache/bitat-qemu --litert 2.3.0 --litert 1.4.0

prints the command that starts the Python of the folder. Everything is kept there and nothing outside is changed: Debian's
own packages are taken apart, not installed, and nobody has to be root. A second call, or one after an interruption, does
what is left to do. Needs Debian or a relative with apt sources for arm64, qemu-user (or qemu-user-static) and a network.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# qemu-user shows the host's /proc/cpuinfo, in which the cpuinfo library of XNNPACK finds no ARM processor and crashes. A
# file of the same name in the folder that qemu is given comes first: four cores of a Cortex-A72, as in a Raspberry Pi 4.
_CORE = """processor\t: {number}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
_PROCESSOR = "cortex-a72"
_QEMU_NAMES = ("qemu-aarch64", "qemu-aarch64-static")
_DEBIAN_PACKAGES = ("python3", "libstdc++6")
# Newest first; all that the glibc of a current Debian runs.
_PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)] + ["manylinux2014_aarch64"]


class NotPreparedError(RuntimeError):
    """Something is missing on this machine; the message says what and how to get it."""


@dataclass(frozen=True)
class QemuRoot:
    """A prepared folder.

    Attributes:
        folder: Where everything lies.
        qemu: The emulator.
    """

    folder: Path
    qemu: str

    @property
    def root(self) -> Path:
        """The folder that programs see as `/`, as far as a file is in it."""
        return self.folder / "root"

    @property
    def python(self) -> Path:
        """The aarch64 Python: `python3.11`."""
        found = sorted((self.root / "usr/bin").glob("python3.[0-9]*[0-9]"))
        if not found:
            raise NotPreparedError(f"{self.root} has no usr/bin/python3.*. Delete {self.root} and prepare it again.")
        return found[-1]

    @property
    def python_version(self) -> str:
        """Its version: "3.11"."""
        return self.python.name.removeprefix("python")

    def packages(self, litert: str) -> Path:
        """Where numpy and that version of ai-edge-litert lie, for PYTHONPATH."""
        return self.folder / f"litert-{litert}"

    def command(self, arguments: Sequence[str], paths: Sequence[Path] = ()) -> list[str]:
        """Return the command that runs the aarch64 Python.

        Args:
            arguments: What stands after `python`.
            paths: Folders with packages, for PYTHONPATH.
        """
        variables = ["PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={':'.join(map(str, paths))}"]
        settings = [part for variable in variables for part in ("-E", variable)]
        return [self.qemu, "-cpu", _PROCESSOR, "-L", str(self.root), *settings, str(self.python), *arguments]


def prepare(folder: Path, litert: Sequence[str] = ()) -> QemuRoot:
    """Prepare a folder, or what is missing in it.

    Args:
        folder: Where everything is kept; made if it is not there.
        litert: Versions of ai-edge-litert.

    Raises:
        NotPreparedError: A program, a package or the network is missing.
    """
    qemu = next(filter(None, map(shutil.which, _QEMU_NAMES)), None)
    if qemu is None:
        raise NotPreparedError("There is no qemu-aarch64 to run ARM programs with. Install it: apt-get install qemu-user")
    result = QemuRoot(folder.resolve(), qemu)
    result.folder.mkdir(parents=True, exist_ok=True)
    if not (result.root / ".complete").exists():
        _unpack_debian(result)
    for version in litert:
        if not (result.packages(version) / ".complete").exists():
            _install_wheels(result, version)
    return result


def _unpack_debian(target: QemuRoot) -> None:
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise NotPreparedError(f"There is no {program}: Debian's packages cannot be unpacked. Use a Debian container.")
    apt = target.folder / "apt"
    for name in ("state/lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    # No package counts as installed, so that apt brings all that Python needs, of the other architecture only.
    (apt / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Debug::NoLocking": "true",
    }
    apt_get = ["apt-get", "--quiet", "--yes"] + [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    advice = "The apt sources of this machine must offer arm64 (Debian's do, Ubuntu's need the ports mirror) and be reachable."
    _run([*apt_get, "update"], "List the arm64 packages", advice)
    _run([*apt_get, "--no-install-recommends", "--download-only", "install", *_DEBIAN_PACKAGES], "Download them", advice)
    shutil.rmtree(target.root, ignore_errors=True)
    print("Unpack them", file=sys.stderr, flush=True)
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        _run(["dpkg", "--extract", str(package), str(target.root)], "", f"Delete {package} and try again.")
    (target.root / "proc").mkdir(exist_ok=True)
    (target.root / "proc/cpuinfo").write_text("".join(_CORE.format(number=number) for number in range(4)))
    run = _run(target.command(["-c", "import ctypes, platform; print(platform.machine())"]), "Start the Python", "")
    if run.strip() != "aarch64":
        raise NotPreparedError(f"The Python of {target.root} says that it runs on {run.strip()!r}. Expected 'aarch64'.")
    (target.root / ".complete").touch()


def _install_wheels(target: QemuRoot, litert: str) -> None:
    packages = target.packages(litert)
    shutil.rmtree(packages, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(packages)]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={target.python_version}"]
    command += [f"--platform={platform}" for platform in _PLATFORMS]
    advice = f"Is there an aarch64 wheel of that version for Python {target.python_version}, and is there a network?"
    _run([*command, f"ai-edge-litert=={litert}", "numpy"], f"Download ai-edge-litert {litert} for aarch64", advice)
    (packages / ".complete").touch()


def _run(command: Sequence[str], title: str, advice: str) -> str:
    if title:
        print(title, file=sys.stderr, flush=True)
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise NotPreparedError(f"{title or command[0]}: failed. {advice}\n{' '.join(map(str, command))}\n{output}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare a folder from the command line and return the exit code: 1 if something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is kept: some 300 MB")
    parser.add_argument("--litert", action="append", default=[], metavar="VERSION", help="a version of ai-edge-litert")
    options = parser.parse_args(arguments)
    try:
        ready = prepare(options.folder, options.litert)
    except NotPreparedError as error:
        print(error, file=sys.stderr)
        return 1
    print(" ".join(ready.command(["PROGRAM.py"], [ready.packages(version) for version in options.litert[:1]])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
