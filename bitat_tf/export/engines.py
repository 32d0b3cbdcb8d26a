"""What a file can be run with for its verification."""

from importlib.metadata import version

import numpy as np

from bitat_tf._validation import check_choice
from bitat_tf.tflite_file.running import ChildFailure, run, run_in_runtime
from bitat_tf.tflite_file.runtime import require_runtime

LARQ, WITH_RUNTIME = ENGINES = ("larq", "runtime")


class Engine:
    """Runs files with one of `ENGINES`, each time in a process of its own, so that a crash is an error.

    Args:
        where: Name of the public function, for the messages.
        name: "larq" for larq-compute-engine's interpreter, "runtime" for bitat-runtime in a stock one.

    Attributes:
        description: What runs the files, with versions; of bitat-runtime they are known after the first run.

    Raises:
        ValueError: If there is none of that name.
        MissingRuntimeError: If it is bitat-runtime, which cannot be used here.
    """

    def __init__(self, where: str, name: str):
        check_choice(where, "engine", name, ENGINES)
        self.is_runtime = name == WITH_RUNTIME
        self._where = where
        self.description = "bitat-runtime" if self.is_runtime else f"larq-compute-engine {version('larq-compute-engine')}"
        if self.is_runtime:
            require_runtime(f"{where}: engine={name!r}")

    def run(self, path: str, content: bytes, samples: np.ndarray) -> list[np.ndarray]:
        """Return an array of shape (n, ...) for each output of a file.

        Args:
            path: Name of the file, for the messages.
            content: What it holds; it has one input.
            samples: Shape (n, ...), n >= 1, of the type of the input.

        Raises:
            ValueError: If the file cannot be run.
        """
        try:
            if not self.is_runtime:
                return run(content, samples)
            outputs, self.description = run_in_runtime(content, samples)
            return outputs
        except ChildFailure as failure:
            raise ValueError(f"{self._where}: {self.description} could not run {path}: {failure.reason}.") from failure
