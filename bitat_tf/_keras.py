"""The one place that decides which Keras is used.

Larq is built on Keras 2, which TensorFlow 2.16 and later provide as the package `tf_keras` and put behind `tf.keras`
only where `TF_USE_LEGACY_KERAS=1` was set before `tf.keras` is used for the first time. Every module of this package
takes `tf` and `keras` from here, so that the choice is made before Larq is loaded.
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


def _select_legacy_keras() -> None:
    """Ask TensorFlow for Keras 2, which it decides on while it is loaded."""
    value = os.environ.get(_FLAG)
    if value is not None and value.lower() not in ("1", "true"):
        raise ImportError(_CURE.format(cause=f"the environment variable {_FLAG} is {value!r}"))
    if value is None and "tensorflow" in sys.modules:
        raise ImportError(_CURE.format(cause="TensorFlow was loaded before bitat_tf without asking for Keras 2"))
    os.environ[_FLAG] = "1"


_select_legacy_keras()

import tensorflow as tf  # noqa: E402
import tf_keras as keras  # noqa: E402

if tf.keras.Model is not keras.Model:
    raise ImportError(_CURE.format(cause="TensorFlow chose it before the request for Keras 2 was made"))

__all__ = ["keras", "tf"]
