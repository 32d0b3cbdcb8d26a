"""How fast bitat-runtime is: `python -m benchmarks.runtime` writes `docs/runtime_figures.md` and `.json`.

All candidates of a network run in turns in one process; each ratio is between medians of the same run. Weights are random:
times do not depend on them. The machine should do nothing else.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bitat_runtime
import keras
import numpy as np
import tensorflow as tf

from benchmarks.networks import paired_reactnet_a, randomize
from benchmarks.runtime_page import page
from bitat_tf.applications import QuickNet
from bitat_tf.deployment import float_twin
from bitat_tf.deployment.machine import this_machine
from bitat_tf.export import to_tflite

ROOT = Path(__file__).parents[1]
FUSIONS = {
    "all": "on",
    "without residual": "prelu,quantize,concat",
    "without prelu": "residual,quantize,concat",
    "without quantize": "residual,prelu,concat",
    "without concat": "residual,prelu,quantize",
    "none": "off",
}
Run = Callable[[], object]


def write_networks(folder: Path, tiny: bool) -> dict[str, Path]:
    """Write the binary files and the float ones (name with "_float"), and return their paths."""
    size = 32 if tiny else 224
    networks = {
        f"ReActNet-A {size}": paired_reactnet_a(size, 0.25 if tiny else 1.0, 1000),
        "ReActNet-A 32": paired_reactnet_a(32, 0.25 if tiny else 1.0, 100),
        f"QuickNet {size}": QuickNet((size, size, 3)),
    }
    paths = {}
    for name, model in networks.items():
        pixels = np.random.default_rng(1).uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
        paths[name] = folder / f"{name}.tflite"
        to_tflite(randomize(model), paths[name], pixels, minimum_agreement=0.0)
        paths[f"{name}_float"] = folder / f"{name}_float.tflite"
        paths[f"{name}_float"].write_bytes(float_twin(model))
    mobile = keras.applications.MobileNetV2((size, size, 3), weights=None)
    paths["MobileNetV2"] = folder / "mobilenet.tflite"
    paths["MobileNetV2"].write_bytes(tf.lite.TFLiteConverter.from_keras_model(mobile).convert())
    return paths


def runtime(path: Path, threads: int, **options: Any) -> tuple[Run, Any]:
    """Return what runs a file once with the delegate, and the delegate."""
    delegate = bitat_runtime.delegate(num_threads=threads, **options)
    return _stock(path, threads, [delegate]), delegate


def _stock(path: Path, threads: int, delegates: list[Any] | None = None) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads, experimental_delegates=delegates)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        pixels = np.random.default_rng(0).uniform(0, 255, details["shape"]).astype(details["dtype"])
        interpreter.set_tensor(details["index"], pixels)
    return interpreter.invoke


def _lce(path: Path, threads: int, xnnpack: bool) -> Run:
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    interpreter = Interpreter(path.read_bytes(), num_threads=threads, use_indirect_bgemm=True, use_xnnpack=xnnpack)
    pixels = np.random.default_rng(0).uniform(0, 255, interpreter.input_shapes[0]).astype(np.float32)
    return lambda: interpreter.predict(pixels)


def take_turns(candidates: dict[str, Run], runs: int) -> dict[str, list[float]]:
    """Return the seconds of each run of each candidate; in every round each has one turn, in an order drawn anew."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    generator = random.Random(0)
    for run in candidates.values():
        run()
        run()
    for _ in range(runs):
        order = list(candidates)
        generator.shuffle(order)
        for name in order:
            start = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median, least and quartiles in milliseconds."""
    quarters = statistics.quantiles(seconds, n=4)
    values = {"median": statistics.median(seconds), "least": min(seconds), "lower": quarters[0], "upper": quarters[2]}
    return {name: 1000 * value for name, value in values.items()}


def measure_network(name: str, paths: dict[str, Path], threads: int, runs: int) -> dict[str, Any]:
    """Return the times of one network in all engines and with all kernels."""
    candidates: dict[str, Run] = {
        "float twin, XNNPACK": _stock(paths[f"{name}_float"], threads),
        "larq-compute-engine": _lce(paths[name], threads, False),
        "larq-compute-engine, XNNPACK": _lce(paths[name], threads, True),
        "MobileNetV2 float, XNNPACK": _stock(paths["MobileNetV2"], threads),
    }
    for kernel in bitat_runtime.kernel_families():
        candidates[f"bitat-runtime, {kernel}"] = runtime(paths[name], threads, kernel=kernel)[0]
    foreign = os.times()
    started = time.perf_counter()
    seconds = take_turns(candidates, runs)
    wall, own = time.perf_counter() - started, os.times()
    return {
        "network": name,
        "threads": threads,
        "runs": runs,
        "milliseconds": {candidate: summary(times) for candidate, times in seconds.items()},
        "own_cores": (own.user + own.system - foreign.user - foreign.system) / wall,
    }


def measure_fusion(path: Path, threads: int, runs: int) -> dict[str, Any]:
    """Return the times with and without each fusion, in turns."""
    candidates = {name: runtime(path, threads, fusion=fusion)[0] for name, fusion in FUSIONS.items()}
    return {name: summary(times) for name, times in take_turns(candidates, runs).items()}


def measure_steps(path: Path, runs: int) -> list[dict[str, Any]]:
    """Return what each step of the delegate takes, on one thread."""
    run, delegate = runtime(path, 1, profile=True)
    for _ in range(3):
        run()
    delegate.reset_profile()
    for _ in range(runs):
        run()
    return [{"name": step.name, "milliseconds": 1000 * step.seconds_per_run, "macs": step.macs} for step in delegate.profile()]


def measure_loading(path: Path, twin: Path) -> dict[str, Any]:
    """Return seconds to the first result and memory, each engine in processes of its own; the median of five."""
    result = {}
    for engine, file in (("bitat-runtime", path), ("larq-compute-engine", path), ("TensorFlow Lite", twin)):
        command = [sys.executable, "-m", "benchmarks.runtime_child", engine, str(file)]
        lines = [
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            for _ in range(5)
        ]
        found = [json.loads(line) for line in lines]
        result[engine] = {key: statistics.median(one[key] for one in found) for key in found[0]}
    return result


def measure_peaks(folder: Path) -> dict[str, Any]:
    """Return binary multiply-accumulates a second in registers, and bytes a second of copies by KiB; {} without a compiler."""
    if shutil.which("g++") is None:
        return {}
    program = folder / "peak"
    subprocess.run(["g++", "-O2", "-o", program, ROOT / "benchmarks" / "native" / "peak.cc"], check=True)
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split("\n")
    words = [line.split() for line in lines if line]
    return {
        "counting": next((float(line[1]) for line in words if line[0] == "counting"), None),
        "copy": {line[1]: float(line[2]) for line in words if line[0] == "copy"},
    }


def count_arm_instructions(folder: Path) -> dict[str, int]:
    """Return instructions of one convolution with the kernels for ARM, in an emulator; {} where there is none."""
    if shutil.which("qemu-aarch64") is None or shutil.which("aarch64-linux-gnu-g++") is None:
        return {}
    build = folder / "aarch64"
    toolchain = ROOT / "runtime" / "cmake" / "aarch64-linux-gnu.cmake"
    configure = ["cmake", "-S", ROOT / "runtime", "-B", build, "-DBITAT_TESTS=ON", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"]
    for command in (configure, ["cmake", "--build", build, "-j2", "--target", "kernel_test"]):
        subprocess.run(command, check=True, capture_output=True)
    counted = {}
    for kernel in ("portable", "neon"):
        # Each instruction is a line of the emulator's log; the difference of two runs leaves out what is around.
        once, twice = (_instructions(build / "kernel_test", kernel, repeats) for repeats in (1, 2))
        counted[kernel] = twice - once
    return counted


def _instructions(program: Path, kernel: str, repeats: int) -> int:
    log = ["-singlestep", "-d", "exec,nochain", "-D", "/dev/stdout"]
    command = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", *log, str(program), "--work", kernel, str(repeats)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        return sum(line.startswith(b"Trace") for line in process.stdout or ())


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=31, help="timed runs of each candidate (default 31)")
    parser.add_argument("--out", type=Path, help="folder of the page (default docs)")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that everything runs")
    options = parser.parse_args()
    if options.tiny and not options.out:
        parser.error("--tiny needs --out: its figures do not belong into docs")
    out = options.out or ROOT / "docs"
    out.mkdir(parents=True, exist_ok=True)
    machine = this_machine()
    packages = ("bitat-runtime", "ai-edge-litert", "larq-compute-engine", "tensorflow", "numpy")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_networks(folder, options.tiny)
        binary = [network for network in paths if f"{network}_float" in paths]
        results = {
            "machine": {"cpu": machine.cpu, "cores": machine.cores, "system": machine.system, "load": machine.load},
            "versions": {package: version(package) for package in packages},
            "networks": [measure_network(one, paths, threads, options.runs) for one in binary for threads in (1, 2)],
            "fusion": {threads: measure_fusion(paths[binary[0]], threads, options.runs) for threads in (1, 2)},
            "steps": measure_steps(paths[binary[0]], options.runs),
            "loading": measure_loading(paths[binary[0]], paths[f"{binary[0]}_float"]),
            "peaks": measure_peaks(folder),
            "arm": count_arm_instructions(folder),
        }
    (out / "runtime_figures.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "runtime_figures.md").write_text(page(json.loads(json.dumps(results))))


if __name__ == "__main__":
    main()
