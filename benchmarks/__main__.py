"""Run all benchmarks and write their page."""

import argparse
import datetime
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import THREADS, run_case
from benchmarks.page import page
from benchmarks.plot import plot

NAMES = (
    "statistics-groups",
    "statistics-full",
    "statistics-numpy",
    "wide-groups",
    "wide-full",
    "wide-refused",
    "disentangle-256",
    "disentangle-4608",
    "training-step",
    "flips",
    "network-flips",
    "growth",
)
PACKAGES = ("bitat_tf", "tensorflow", "numpy", "scipy", "scikit-learn")


def main() -> None:
    """Parse the options, run, write `benchmarks.json`, `benchmarks.md` and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, help="run these alone; the others are taken from the last run")
    parser.add_argument("--out", type=Path, help="folder of the page (default docs)")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that everything runs")
    options = parser.parse_args()
    if options.tiny and not options.out:
        parser.error("--tiny needs --out: its figures do not belong into docs")
    options.out = options.out or Path(__file__).parents[1] / "docs"
    stored = options.out / "benchmarks.json"
    results: dict[str, Any] = json.loads(stored.read_text()) if options.only and stored.exists() else {}
    started = time.monotonic()
    for name in options.only or NAMES:
        sys.stdout.write(f"{name} ... ")
        sys.stdout.flush()
        results[name] = run_case(name, options.tiny)
        sys.stdout.write(json.dumps(results[name])[:160] + "\n")
    if not options.only or "machine" not in results:
        results["seconds"] = time.monotonic() - started
        results["machine"] = f"{_processor()}, {THREADS} threads, Python {platform.python_version()}"
        packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
        results["versions"] = f"{packages}; {datetime.date.today().isoformat()}"
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps(results, indent=1) + "\n")
    if all(name in results for name in NAMES):
        plot(results["growth"], options.out / "images" / "growth.png")
        (options.out / "benchmarks.md").write_text(page(results) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
