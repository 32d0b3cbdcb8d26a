"""The export where Keras runs on another backend: in a child process, in which it runs on TensorFlow.

`python -m bitat_tf.export.tensorflow_child FOLDER` is that process; the folder holds the model and the arguments, and takes the
answer.
"""

import functools
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import keras

_MODEL, _REQUEST, _ANSWER = "model.keras", "request.pickle", "answer.pickle"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def on_tensorflow(function: _Function) -> _Function:
    """Return a function of a model that runs in a child process where Keras runs on another backend than TensorFlow.

    Args:
        function: A public function of `bitat_tf.export` whose first argument is a model. Its other arguments, its result and
            its errors pass from one process to the other.
    """

    @functools.wraps(function)
    def called(model: keras.Model, *arguments: Any, **keywords: Any) -> Any:
        if keras.backend.backend() == "tensorflow" or not isinstance(model, keras.Model) or not model.built:
            return function(model, *arguments, **keywords)
        return _in_child(function.__name__, model, arguments, keywords)

    return called  # type: ignore[return-value]


def _in_child(name: str, model: keras.Model, arguments: tuple, keywords: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, _MODEL))
        with Path(folder, _REQUEST).open("wb") as file:
            pickle.dump((name, arguments, keywords), file)
        command = [sys.executable, "-m", __name__, folder]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        answer = Path(folder, _ANSWER)
        if not answer.exists():
            last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            raise ChildProcessError(
                f"{name}: Keras runs on {keras.backend.backend()}, and the process in which it runs on TensorFlow ended with "
                f"exit code {done.returncode}: {last}. Save the model, and export it with KERAS_BACKEND=tensorflow to see more."
            )
        with answer.open("rb") as file:
            result = pickle.load(file)  # written by our own child, in a folder of our own
    if isinstance(result, Exception):
        raise result
    return result


def main(folder: str) -> None:
    """Run what the request asks for, and leave its result or its error as the answer."""
    from bitat_tf import export

    with Path(folder, _REQUEST).open("rb") as file:
        name, arguments, keywords = pickle.load(file)
    result: Any
    try:
        model = keras.models.load_model(Path(folder, _MODEL), compile=False)
        result = getattr(export, name)(model, *arguments, **keywords)
    except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
        result = error
    with Path(folder, _ANSWER).open("wb") as file:
        pickle.dump(result, file)


if __name__ == "__main__":
    main(sys.argv[1])
