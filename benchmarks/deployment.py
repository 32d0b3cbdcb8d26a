"""Files of the direct export beside those of larq-compute-engine's converter: `python -m benchmarks.deployment`.

For ReActNet-A as its authors built it, all networks of `bitat_tf.applications`, and a chain of convolutions, normalizations
and ReLUs after `binarize`: bytes and operators of the files, seconds and memory of the export, milliseconds in bitat-runtime.
Writes `docs/deployment_figures.md` and `.json` after each part of a network, and goes on where it was stopped. Weights are
random, statistics, thresholds, shifts and slopes too. The machine should do nothing else; bytes and operators do not depend
on it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# This process stays small: the peak that the system counts of a child process begins with that of its parent.
from benchmarks.deployment_page import PARTS, page

ROOT = Path(__file__).parents[1]
NAMES = (
    "ReActNet-A, pairs",
    "ReActNetA",
    "ReActNet18",
    "BiRealNet18",
    "BiRealNet34",
    "RealToBinNet18",
    "MeliusNet22",
    "QuickNet",
    "MobileNetV1",
    "MobileNetV2",
    "Conv-BN-ReLU",
)
WAYS = ("direct", "larq", "verified")


def child(part: str, *arguments: Any) -> dict[str, Any]:
    """Return what a part of `benchmarks.deployment_child` found."""
    command = [sys.executable, "-m", "benchmarks.deployment_child", part, *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"benchmark {part} {' '.join(map(str, arguments))} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def export(folder: str, repeats: int) -> dict[str, Any]:
    """Return medians of what each way of writing a file takes; the ways take turns."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            found[way].append(child(way, folder))
    medians = {
        way: {name: statistics.median(one[name] for one in results) for name in results[0]} for way, results in found.items()
    }
    return {"repeats": repeats, **medians}


def measure_parts(name: str, parts: Sequence[str], settings: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield figures of a network, part by part."""
    with tempfile.TemporaryDirectory() as folder:
        # The other parts need what this one writes.
        files = child("files", folder, "--network", name, "--size", settings.size, "--width", settings.width)
        for part in parts:
            load = os.getloadavg()[0]
            if part == "files":
                yield part, files
            elif part == "export":
                yield part, {"load": load, **export(folder, settings.repeats)}
            else:
                yield part, {"load": load, **child("times", folder, "--runs", settings.runs)}


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NETWORK", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured (default: all)")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured before")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each way of the export (default 3)")
    parser.add_argument("--runs", type=int, default=31, help="timed runs of each file (default 31)")
    parser.add_argument("--out", type=Path, help="folder of the page (default docs)")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that everything runs")
    options = parser.parse_args()
    if options.tiny and not options.out:
        parser.error("--tiny needs --out: its figures do not belong into docs")
    options.size, options.width = (32, 0.25) if options.tiny else (224, 1.0)
    out = options.out or ROOT / "docs"
    out.mkdir(parents=True, exist_ok=True)
    stored = out / "deployment_figures.json"
    results: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {"networks": {}}
    if results.setdefault("size", options.size) != options.size:
        parser.error(f"{stored} has figures of pictures of {results['size']} pixels: name another --out.")
    machine = child("machine")
    timed = any(part in one for one in results["networks"].values() for part in ("export", "times"))
    if (
        timed
        and not options.again
        and (machine["cpu"], machine["cores"]) != tuple(results["machine"][key] for key in ("cpu", "cores"))
    ):
        parser.error(f"{stored} has times of another machine: measure all of it --again, or name another --out.")
    for name in options.only:
        figures = results["networks"].setdefault(name, {})
        parts = [part for part in options.parts if options.again or part not in figures]
        for part, found in measure_parts(name, parts, options) if parts else ():
            sys.stdout.write(f"{name}: {part}\n")
            sys.stdout.flush()
            figures[part] = found
            results["machine"] = machine
            results["networks"] = {one: results["networks"][one] for one in NAMES if one in results["networks"]}
            stored.write_text(json.dumps(results, indent=1) + "\n")
            (out / "deployment_figures.md").write_text(page(results))


if __name__ == "__main__":
    main()
