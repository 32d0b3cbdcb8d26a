"""One measurement of `benchmarks.deployment` in a process of its own; the last line that it prints is the result, as JSON.

    python -m benchmarks.deployment_child files|direct|larq|verified|times|machine [FOLDER] [OPTIONS]

`files` builds a network and leaves in FOLDER the model, its plain form and the files; the others take them from there. What is
measured is imported within: `direct` and `larq` find out what an import takes, too.
"""

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import measure

_PICTURES = 8  # of the verification, and of the ranges of int8


def files(folder: Path, network: str, size: int, width: float) -> dict[str, Any]:
    """Build a network, write it in all ways, and return what is in the files."""
    from benchmarks.networks import build
    from bitat_tf.export import to_plain_network, to_tflite
    from bitat_tf.export.larq_converter import save_plain
    from bitat_tf.tflite_file import inspect

    model = build(network, size, width, classes=1000 if width == 1 else 10)
    model.save(folder / "model.keras")
    save_plain(to_plain_network(model), folder / "plain")
    reports = {
        "direct": to_tflite(model, folder / "direct.tflite", verify=False),
        # What its converter leaves float is counted, and is no reason not to compare.
        "larq": to_tflite(model, folder / "larq.tflite", converter="larq-compute-engine", verify=False, allow_partial=True),
        "int8": to_tflite(model, folder / "int8.tflite", calibration=_pixels(model), input_type="uint8", verify=False),
    }
    totals = {name: inspect(report.path).totals for name, report in reports.items() if name != "int8"}
    return {
        "binary_layers": reports["direct"].expected_binary,
        "fused": {name: report.fused_binary for name, report in reports.items()},
        "bytes": {"float32": reports["direct"].float_size, **{name: report.size for name, report in reports.items()}},
        "elementwise": {name: found.elementwise for name, found in totals.items()},
        "binary_share_of_macs": totals["direct"].binary_mac_share,
        "operators": {name: report.operators for name, report in reports.items()},
    }


def direct(folder: Path) -> dict[str, float]:
    """Return what the direct export takes, without verification."""
    started = time.perf_counter()
    import keras

    from bitat_tf.export import to_tflite

    imported = time.perf_counter() - started
    model = keras.models.load_model(folder / "model.keras", compile=False)
    return _taken(imported, lambda: to_tflite(model, folder / "again.tflite", verify=False))


def verified(folder: Path) -> dict[str, float]:
    """Return what the direct export takes with its verification on a few pictures."""
    started = time.perf_counter()
    import keras

    from bitat_tf.export import to_tflite

    imported = time.perf_counter() - started
    model = keras.models.load_model(folder / "model.keras", compile=False)
    data = _pixels(model)
    # In a random network one bit that falls on the other side of a threshold may change the outputs beyond all limits.
    return _taken(imported, lambda: to_tflite(model, folder / "again.tflite", data, minimum_agreement=0.0))


def larq(folder: Path) -> dict[str, float]:
    """Return what larq-compute-engine's converter takes for the same network, as a plain one of TensorFlow's operators."""
    started = time.perf_counter()
    import larq_compute_engine as lce

    imported = time.perf_counter() - started
    return _taken(imported, lambda: (folder / "again.tflite").write_bytes(lce.convert_saved_model(folder / "plain")))


def _taken(imported: float, convert) -> dict[str, float]:
    """Return seconds of the import and of a conversion; MiB of the process at its peak, and what the conversion added."""
    found = measure(convert)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"import_seconds": imported, "seconds": found["seconds"], "added_mib": found["peak_mib"], "peak_mib": peak}


def times(folder: Path, runs: int) -> dict[str, Any]:
    """Return the time of both files in bitat-runtime on one thread, in turns."""
    import bitat_runtime

    from benchmarks.runtime import runtime, summary, take_turns

    candidates = {name: runtime(folder / f"{name}.tflite", 1)[0] for name in ("direct", "larq")}
    seconds = take_turns(candidates, runs)
    found = {name: summary(values) for name, values in seconds.items()}
    return {"runs": runs, "kernel": bitat_runtime.delegate(num_threads=1).kernel, "milliseconds": found}


def machine() -> dict[str, Any]:
    """Return what figures of speed depend on."""
    from bitat_tf.deployment.machine import this_machine

    return asdict(this_machine())


def _pixels(model: Any) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (_PICTURES, *model.input_shape[1:])).astype(np.float32)


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("files", "direct", "larq", "verified", "times", "machine"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--network")
    parser.add_argument("--size", type=int)
    parser.add_argument("--width", type=float)
    parser.add_argument("--runs", type=int)
    options = vars(parser.parse_args())
    function = globals()[options.pop("part")]
    found = function(**{name: value for name, value in options.items() if value is not None})
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
