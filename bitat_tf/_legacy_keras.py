"""The request for Keras 2, made while `bitat_tf` is imported, before TensorFlow's Keras is used for the first time.

Larq is built on Keras 2, which TensorFlow 2.16 and later provide as the package `tf_keras` and put behind `tf.keras`
only where `TF_USE_LEGACY_KERAS=1` was set before `tf.keras` is used for the first time. Neither TensorFlow nor Keras is
imported here: that takes seconds.
"""

import os
import sys

_FLAG = "TF_USE_LEGACY_KERAS"
_CURE = (
    "bitat_tf needs Keras 2 (the package tf_keras, as Larq does), but `tf.keras` in this process is Keras 3: {cause}. "
    "Restart Python (in Colab: Runtime > Restart session) and put these two lines before every other import:\n"
    "    import os\n"
    f'    os.environ["{_FLAG}"] = "1"'
)


def select_legacy_keras() -> None:
    """Ask TensorFlow for Keras 2, which it decides on while it is loaded.

    Raises:
        ImportError: If TensorFlow was loaded before, or the environment asks for Keras 3.
    """
    value = os.environ.get(_FLAG)
    if value is not None and value.lower() not in ("1", "true"):
        raise ImportError(_CURE.format(cause=f"the environment variable {_FLAG} is {value!r}"))
    if value is None and "tensorflow" in sys.modules:
        raise ImportError(_CURE.format(cause="TensorFlow was loaded before bitat_tf without asking for Keras 2"))
    os.environ[_FLAG] = "1"


def chosen_too_late() -> ImportError:
    """Return the error for a process in which `tf.keras` is Keras 3 in spite of the request."""
    return ImportError(_CURE.format(cause="TensorFlow chose it before the request for Keras 2 was made"))
