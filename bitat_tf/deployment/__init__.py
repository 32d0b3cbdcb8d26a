"""From a `.tflite` file to a device: how fast it is, and against what.

| module | what it holds |
|---|---|
| `benchmarking` | `benchmark`: a file against its twins and other files, side by side (`timing_child`) |
| `benchmark_report` | `BenchmarkReport`: its table |
| `engine_times` | for the report of a run: time per picture with each engine that is installed |
| `machine` | the machine that was measured |
| `twins` | `float_twin`, `int8_twin`: the same network with ordinary kernels |
"""

from typing import TYPE_CHECKING

from bitat_tf._lazy import lazy_attributes

if TYPE_CHECKING:  # for editors and type checkers, which do not run what follows
    from bitat_tf.deployment.benchmark_report import BenchmarkReport
    from bitat_tf.deployment.benchmarking import benchmark
    from bitat_tf.deployment.twins import float_twin, int8_twin

__getattr__ = lazy_attributes(
    __name__,
    {
        "BenchmarkReport": f"{__name__}.benchmark_report",
        "benchmark": f"{__name__}.benchmarking",
        "float_twin": f"{__name__}.twins",
        "int8_twin": f"{__name__}.twins",
    },
)

__all__ = ["BenchmarkReport", "benchmark", "float_twin", "int8_twin"]
