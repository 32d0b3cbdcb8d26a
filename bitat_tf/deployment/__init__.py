"""From a `.tflite` file to a device: how fast it is, and against what.

| module | what it holds |
|---|---|
| `benchmarking` | `benchmark`: a file against its twins and other files, side by side (`_timing_child`) |
| `benchmark_report` | `BenchmarkReport`: its table |
| `engine_times` | for the report of a run: time per picture with larq-compute-engine and with bitat-runtime |
| `machine` | the machine that was measured |
| `twins` | `float_twin`, `int8_twin`: the same network with ordinary kernels |
"""

from bitat_tf.deployment.benchmark_report import BenchmarkReport
from bitat_tf.deployment.benchmarking import benchmark
from bitat_tf.deployment.twins import float_twin, int8_twin

__all__ = ["BenchmarkReport", "benchmark", "float_twin", "int8_twin"]
