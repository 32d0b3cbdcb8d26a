"""What runs files: bitat-runtime in a stock interpreter, or larq-compute-engine's own. Both are optional."""

import importlib.util
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np

from bitat_tf._validation import check_choice
from bitat_tf.tflite_file.content import parse
from bitat_tf.tflite_file.inputs import stored_inputs
from bitat_tf.tflite_file.running import ChildFailure, run

RUNTIME, LCE = ENGINES = ("bitat-runtime", "larq-compute-engine")
"""The engines by their names; the first one that is installed is taken where none is named."""

_INSTALL = "`pip install ./runtime` in a checkout of bitat_tf"


class MissingEngineError(ImportError):
    """A file was to be run, and what runs it cannot be used here."""


def engine_obstacle(engine: str) -> str | None:
    """Return why an engine cannot be used here, as what follows on its name ("is not installed: ..."); None if it can.

    Args:
        engine: One of `ENGINES`.

    Examples:
        >>> obstacle = engine_obstacle("bitat-runtime")
        >>> obstacle is None or "install" in obstacle
        True
    """
    if engine == LCE:
        missing = importlib.util.find_spec("larq_compute_engine") is None
        return "is not installed: `pip install larq-compute-engine`, on Python 3.10 to 3.12" if missing else None
    if importlib.util.find_spec("bitat_runtime") is None:
        return f"is not installed: {_INSTALL}"
    try:
        import bitat_runtime

        bitat_runtime.kernel_families()  # loads the library
    except ImportError:
        return (
            "is installed without its library, since no C++ compiler worked: install one (Debian, Ubuntu: `apt-get install "
            "g++`), and bitat-runtime again with `pip install --force-reinstall --no-deps --no-cache-dir`, by its name or, in "
            "a checkout of bitat_tf, as ./runtime"
        )
    except (OSError, ValueError) as error:
        return f"is installed, and its library cannot be used ({error}). Install it again: {_INSTALL}"
    return None


def available_engines() -> tuple[str, ...]:
    """Return those of `ENGINES` that can be used here, bitat-runtime first.

    Examples:
        >>> {*available_engines()} <= {"bitat-runtime", "larq-compute-engine"}
        True
    """
    return tuple(engine for engine in ENGINES if engine_obstacle(engine) is None)


def default_engine(where: str) -> str:
    """Return the engine that is used where none is named: bitat-runtime if it is installed, else larq-compute-engine.

    Args:
        where: Name of the public function that runs a file, for the message.

    Raises:
        MissingEngineError: If none is installed; the message says how bitat-runtime is.
    """
    available = available_engines()
    if not available:
        raise MissingEngineError(f"{where} runs a file, which needs {RUNTIME}. It {engine_obstacle(RUNTIME)}.")
    return available[0]


class Engine:
    """Runs files with one of `ENGINES`, each time in a process of its own, so that a crash is an error.

    Args:
        where: Name of the public function, for the messages.
        name: "bitat-runtime", in a stock interpreter, LiteRT's or TensorFlow's; or "larq-compute-engine", in its own. Default:
            the first of them that is installed.

    Attributes:
        name: Which of them it is.
        description: The same with versions; of bitat-runtime they are known after the first run, with the kernels.

    Raises:
        ValueError: If there is none of that name.
        MissingEngineError: If it cannot be used here, or none can.
    """

    def __init__(self, where: str, name: str | None = None):
        if name is not None:
            check_choice(where, "engine", name, ENGINES)
            obstacle = engine_obstacle(name)
            if obstacle is not None:
                raise MissingEngineError(f"{where}: engine={name!r} needs {name}, which {obstacle}.")
        self.name = default_engine(where) if name is None else name
        self.description = f"{LCE} {version(LCE)}" if self.name == LCE else RUNTIME
        self._where = where

    def run(self, path: str, content: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return an array of shape (n, ...) for each output of a file, in the file's order.

        Args:
            path: Name of the file, for the messages.
            content: What it holds.
            inputs: For each input of the file, in its order, an array of shape (n, ...), n >= 1, of the input's type.

        Raises:
            ValueError: If the file cannot be run.
        """
        try:
            outputs, self.description = run(content, inputs, self.name)
        except ChildFailure as failure:
            raise ValueError(f"{self._where}: {self.description} could not run {path}: {failure.reason}.") from failure
        return outputs


def run_tflite(
    content: bytes, inputs: np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray], engine: str | None = None
) -> np.ndarray | list[np.ndarray]:
    """Run a `.tflite` file on samples, one after the other, in a process of its own.

    Args:
        content: Content of a whole file.
        inputs: Shape (n, ...), n >= 1, as the model takes them: for a file that takes integers they are put on its grid. For
            several inputs a list of arrays in the order of the file, or a dict of arrays by the names of the model's inputs.
        engine: "bitat-runtime" or "larq-compute-engine". Default: the first of them that is installed.

    Returns:
        The outputs, shape (n, ...); of a file with several outputs a list of them, in the order of the file.

    Raises:
        ValueError: If the content is no `.tflite` file, the inputs do not fit it, or it cannot be run.
        ImportError: If the engine, or any where none is named, is not installed.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 32)), bitat_tf.layers.BinaryConv2D(4, 3)])
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> path = os.path.join(folder, "model.tflite")
        >>> _ = bitat_tf.export.to_tflite(model, path)
        >>> with open(path, "rb") as file:
        ...     run_tflite(file.read(), np.ones((5, 8, 8, 32))).shape
        (5, 6, 6, 4)
    """
    runner = Engine("run_tflite", engine)
    outputs = runner.run("the file", content, stored_inputs("run_tflite", parse(content), inputs))
    return outputs[0] if len(outputs) == 1 else outputs
