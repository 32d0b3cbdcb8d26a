"""Runs larq-compute-engine's `.tflite` files on the stock interpreters of TensorFlow Lite and LiteRT.

    import bitat_runtime

    interpreter = bitat_runtime.Interpreter("model.tflite", num_threads=2)
    labels = interpreter.predict(images).argmax(-1)

or, with an interpreter of your own,

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter("model.tflite", experimental_delegates=[bitat_runtime.delegate()])
"""

from bitat_runtime._delegate import Delegate, delegate
from bitat_runtime._details import TensorDetails
from bitat_runtime._interpreter import Interpreter
from bitat_runtime._library import kernel_families, library_path
from bitat_runtime._profile import Profile, StepProfile

__version__ = "0.1.0"

__all__ = [
    "Delegate",
    "Interpreter",
    "Profile",
    "StepProfile",
    "TensorDetails",
    "__version__",
    "delegate",
    "kernel_families",
    "library_path",
]
