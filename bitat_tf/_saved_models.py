"""What Keras must know to load a saved model with layers of this package: their names, though none of them is imported yet.

Keras finds custom classes of a saved model in a register of its own, in which a class enters itself when its module is
imported. The modules of this package wait until they are used, and who imports `bitat_tf`, and then calls
`keras.models.load_model("binary.keras")`, has used none. So their names are entered as soon as Keras is loaded, each with an
object that imports its class when a model asks for it. The class then takes its own place.
"""

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

CLASSES = {
    "BinaryConv2D": "layers.binary_conv2d",
    "BinaryDense": "layers.binary_dense",
    "ApproxSign": "quantizers.layers",
    "BlurInitializer": "applications.quicknet",
    "ChannelSlice": "applications.meliusnet",
    "DisentangledRegularizer": "regularizers",
    "DisentangledState": "regularizers",
    "MagnitudeAwareSign": "quantizers.layers",
    "PhasedLearningRate": "callbacks.learning_rate",
    "RPReLU": "layers.rprelu",
    "RSign": "quantizers.rsign",
    "SteSign": "quantizers.layers",
    "SteTern": "quantizers.layers",
    "SwishSign": "quantizers.layers",
}
"""The module of each class that enters itself as one of the package "bitat_tf"."""

_KERAS = "keras"


class _WaitingClass:
    """Stands for a class in Keras' register until it is imported."""

    def __init__(self, name: str):
        self.__name__ = name

    def from_config(self, config: dict[str, Any]) -> Any:
        """Return the object that the class makes of a configuration."""
        return getattr(import_module(f"bitat_tf.{CLASSES[self.__name__]}"), self.__name__).from_config(config)


def enter_names() -> None:
    """Enter the names of the package's classes in Keras' register, now if Keras is loaded, else when it will be."""
    if _KERAS in sys.modules:
        _enter(sys.modules[_KERAS])
    else:
        sys.meta_path.insert(0, _KerasFinder())


def _enter(keras: ModuleType) -> None:
    register = keras.saving.get_custom_objects()
    for name in CLASSES:
        register.setdefault(f"bitat_tf>{name}", _WaitingClass(name))


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Sees the import of Keras. TensorFlow may begin it more than once: the last one counts."""

    def __init__(self) -> None:
        self._looking = False

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _KERAS or self._looking:
            return None
        self._looking = True  # so that the other finders find it
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _KerasLoader(spec.loader)
        return spec


class _KerasLoader(importlib.abc.Loader):
    """Loads Keras as its own loader does, and enters the names."""

    def __init__(self, loader: Any):
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _enter(module)
