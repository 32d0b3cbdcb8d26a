"""From a `.tflite` file to a device: how fast it is, and against what.

| module | what it holds |
|---|---|
| `benchmarking` | `benchmark`: a file against its twins and other files, side by side (`_timing_child`) |
| `benchmark_report` | `BenchmarkReport`: its table |
| `kit` | `write_kit`: a folder with all that a file needs on a phone or a board |
| `kit_targets` | what a kit can be for, and which `templates` make it |
| `kit_network`, `kit_values` | what it knows of the file, and what of that fills the templates |
| `kit_picture`, `kit_runtime` | its picture; the C++ sources of bitat-runtime in it |
| `profile` | `parse_profile`: what larq-compute-engine's benchmark program prints, as a table |
| `engine_times` | for the report of a run: time per picture with larq-compute-engine and with bitat-runtime |
| `machine` | the machine that was measured |
| `twins` | `float_twin`, `int8_twin`: the same network with ordinary kernels |
"""

from bitat_tf.deployment.benchmark_report import BenchmarkReport
from bitat_tf.deployment.benchmarking import benchmark
from bitat_tf.deployment.kit import Kit, write_kit
from bitat_tf.deployment.profile import ProfileReport, parse_profile
from bitat_tf.deployment.twins import float_twin, int8_twin

__all__ = ["BenchmarkReport", "Kit", "ProfileReport", "benchmark", "float_twin", "int8_twin", "parse_profile", "write_kit"]
