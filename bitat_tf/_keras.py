"""TensorFlow and its Keras 2: every module of this package that needs them takes `tf` and `keras` from here.

So the request for Keras 2 (`_legacy_keras`) is made before Larq or TensorFlow are loaded.
"""

from bitat_tf._legacy_keras import chosen_too_late, select_legacy_keras

select_legacy_keras()

import tensorflow as tf  # noqa: E402
import tf_keras as keras  # noqa: E402

if tf.keras.Model is not keras.Model:
    raise chosen_too_late()

__all__ = ["keras", "tf"]
