"""What the binary layers share: their state, kept in variables, and the loss of their kernel."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from bitat_tf._validation import channel_count
from bitat_tf.dependency import PatchGeometry, QuantizationErrors, quantization_errors
from bitat_tf.model_graph.nodes import layers_inside
from bitat_tf.quantizers import MagnitudeAwareSign, RSign, hard_tanh, ste_sign
from bitat_tf.quantizers import get as get_quantizer
from bitat_tf.regularizers import DisentangledRegularizer, DisentangledState


class BinaryLayer:
    """Mixin of `BinaryConv2D` and `BinaryDense`, over the layer of Keras.

    Two boolean variables say whether the input and the kernel are binary. Both start as False: a float layer. As variables
    they are saved with the model and seen by a training step that is already traced.

    Attributes:
        disentangled_state: The variables that hold the layer's statistics and reference weights.
    """

    # What the layer of Keras beneath provides.
    name: str
    kernel: Any
    bias: Any
    use_bias: bool
    trainable: bool
    variables: list[Any]
    kernel_regularizer: Any
    activation: Any
    output: Any
    built: bool
    __call__: Callable[..., Any]

    input_quantizer: Any
    kernel_quantizer: Any

    def _prepare_binary(self, input_quantizer, kernel_quantizer, disentangled_regularizer, float_activation) -> None:
        """Finish the constructor: the part that comes after Keras' own."""
        self.input_quantizer = RSign() if input_quantizer is None else get_quantizer(input_quantizer)
        self.kernel_quantizer = get_quantizer(kernel_quantizer)
        if not (isinstance(self.input_quantizer, keras.layers.Layer) and callable(self.kernel_quantizer)):
            raise ValueError(
                f"{type(self).__name__}: `input_quantizer` must be a quantizer layer and `kernel_quantizer` a quantizer, "
                f"since this layer will become binary. Received: input_quantizer={self.input_quantizer!r}, "
                f"kernel_quantizer={self.kernel_quantizer!r}. For a layer that stays float use keras.layers."
            )
        if isinstance(self.kernel_regularizer, DisentangledRegularizer):
            raise ValueError(
                f"{type(self).__name__}: pass a DisentangledRegularizer as `disentangled_regularizer`, so that its statistics "
                "are saved with the layer; `kernel_regularizer` is for the regularizers of Keras."
            )
        self._has_own_regularizer = disentangled_regularizer is not None
        if disentangled_regularizer is None:
            disentangled_regularizer = DisentangledRegularizer()
        elif isinstance(disentangled_regularizer, dict):
            disentangled_regularizer = keras.saving.deserialize_keras_object(disentangled_regularizer)
        if not isinstance(disentangled_regularizer, DisentangledRegularizer):
            raise TypeError(
                f"{type(self).__name__}: `disentangled_regularizer` must be a bitat_tf.regularizers.DisentangledRegularizer. "
                f"Received: {disentangled_regularizer!r}."
            )
        self.disentangled_regularizer = disentangled_regularizer
        if isinstance(float_activation, keras.layers.Layer):
            raise TypeError(
                f"{type(self).__name__}: `float_activation` must be a function or its name, since no weights are kept for it. "
                f"Received: {float_activation!r}. Pass a function, as in 'hard_tanh', or put that layer before this one."
            )
        # None stays None: `keras.activations.get` would make it a function, and the float layer must be Keras' own.
        if float_activation == "hard_tanh":
            float_activation = hard_tanh
        elif isinstance(float_activation, dict):
            float_activation = keras.saving.deserialize_keras_object(float_activation)
        self.float_activation = None if float_activation is None else keras.activations.get(float_activation)
        self._input_listener: Callable[[Any], None] | None = None

    def add_weight(self, *args, name=None, **kwargs):
        """Create a variable; the kernel in float32 also where the layer computes in another type."""
        if name == "kernel":  # the sign of a tiny weight must not vanish in float16
            kwargs["autocast"] = False
        return super().add_weight(*args, name=name, **kwargs)  # type: ignore[misc]

    def build(self, input_shape):
        """Create the weights of the float layer, the thresholds, the state and the statistics."""
        channel_count(input_shape, f"{type(self).__name__} {self.name!r}")
        if self.disentangled_regularizer.state is not None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: its DisentangledRegularizer serves another layer already, and holds "
                "that layer's statistics. Give every layer a regularizer of its own."
            )
        super().build(input_shape)  # type: ignore[misc]

        def add_flag(name: str) -> Any:
            return self.add_weight(name=name, shape=(), dtype="bool", initializer="zeros", trainable=False)

        self.input_is_binary = add_flag("input_is_binary")
        self.kernel_is_binary = add_flag("kernel_is_binary")
        if not self.input_quantizer.built:
            # Here, not at the first call: the weights of a layer exist once it is built.
            self.input_quantizer.build(input_shape)
            self.input_quantizer.built = True
        self.disentangled_state = self.disentangled_regularizer.build(self.kernel.shape)
        if not self._has_own_regularizer:  # switched off, until a schedule switches it on
            self.disentangled_state.strength.assign(0.0)
            self.disentangled_state.l1.assign(0.0)
        # Where a layer of Keras has its own; the user's and the disentangled one are then the two parts of a sum.
        self.kernel.regularizer = _Both(self.disentangled_regularizer, self.kernel_regularizer)

    def save_own_variables(self, store):
        """Save all variables; the layers of Keras beneath would save kernel and bias alone."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        """Load what `save_own_variables` has saved."""
        keras.layers.Layer.load_own_variables(self, store)

    @property
    def _is_scaled_afterwards(self) -> bool:
        return type(self.kernel_quantizer) is MagnitudeAwareSign

    def _kernel_now(self, dtype):
        """Return the kernel as it is now, float or quantized, without the scale that `_scaled` multiplies by."""
        latent = ops.cast(self.kernel, self.kernel.dtype)
        if self._is_scaled_afterwards:
            signs = ste_sign(latent, self.kernel_quantizer.clip_value)
        else:
            signs = ops.cast(self.kernel_quantizer(latent), latent.dtype)
        return ops.cast(ops.where(ops.cast(self.kernel_is_binary, "bool"), signs, latent), dtype)

    def _scaled(self, sums):
        """Return what the binary kernel alpha * sign(w) makes of its inputs, given the sums of sign(w).

        Sums of signs are integers, exact in any order, on every device; with alpha inside of them each order rounds otherwise.
        """
        if not self._is_scaled_afterwards:
            return sums
        alpha = MagnitudeAwareSign.scale(ops.cast(self.kernel, self.kernel.dtype))
        alpha = ops.where(ops.cast(self.kernel_is_binary, "bool"), alpha, ops.ones_like(alpha))
        return sums * ops.cast(alpha, sums.dtype)

    def _convolved(self, inputs, kernel):
        """Return the sums of a kernel over an input that is quantized already."""
        raise NotImplementedError

    def call(self, inputs):
        """Return the layer's output: of the float layer, or of the binary one."""
        if self._input_listener is not None:
            self._input_listener(inputs)
        # A condition, not `where`, which would choose element by element, also in the gradient of each branch.
        # The cast: a quantizer that was made under another policy of mixed precision computes in another type.
        inputs = ops.cond(
            ops.cast(self.input_is_binary, "bool"),
            lambda: ops.cast(self.input_quantizer(inputs), inputs.dtype),
            lambda: self._float_input(inputs),
        )
        outputs = self._scaled(self._convolved(inputs, self._kernel_now(inputs.dtype)))
        if self.use_bias:
            outputs = outputs + ops.cast(self.bias, outputs.dtype)
        return outputs if self.activation is None else self.activation(outputs)

    def _float_input(self, inputs):
        """Return what the kernel of the float layer sees."""
        return ops.cast(inputs if self.float_activation is None else self.float_activation(inputs), inputs.dtype)

    def geometry(self, binary: bool) -> PatchGeometry:
        """Return which features of its input a kernel sees, in the binary or in the float layer."""
        raise NotImplementedError

    def input_images(self, inputs, binary: bool):
        """Return the input as pictures of shape (n, height, width, c), as the kernel sees it.

        That is signs for the binary layer, and for the float one the inputs, through `float_activation` if there is one.
        """
        inputs = ops.convert_to_tensor(inputs)
        return self.input_quantizer(inputs) if binary else self._float_input(inputs)

    def input_rows(self, inputs, binary: bool) -> np.ndarray:
        """Return the rows that the kernel sees, shape (n, d), of the binary or of the float layer (Eq. 14)."""
        return self.geometry(binary).patches(ops.convert_to_numpy(self.input_images(inputs, binary)))

    @property
    def latent_kernel(self) -> np.ndarray:
        """The float kernel that training changes, as an array; the binary one is its quantization."""
        return ops.convert_to_numpy(self.kernel)

    @property
    def latent_kernel_matrix(self) -> np.ndarray:
        """The latent kernel as a matrix of shape (d, m), features in the order of the patches."""
        kernel = self.latent_kernel
        return kernel.reshape(-1, kernel.shape[-1])

    def quantized_kernel(self, latent: np.ndarray) -> np.ndarray:
        """Return the binary kernel of a latent one, in its type: alpha is float32 also where the layer computes in another."""
        kernel = ops.convert_to_tensor(latent)
        if self._is_scaled_afterwards:
            binary = ste_sign(kernel) * MagnitudeAwareSign.scale(kernel)
        else:
            binary = self.kernel_quantizer(kernel)
        return ops.convert_to_numpy(binary).astype(latent.dtype)

    def set_latent_kernel(self, matrix: np.ndarray) -> None:
        """Assign the latent kernel from a matrix of shape (d, m)."""
        self.kernel.assign(np.reshape(matrix, self.kernel.shape).astype(self.kernel.dtype))

    @property
    def state(self) -> str:
        """State of the layer: "float", "binary", or "mixed" (only the input or only the kernel is binary)."""
        flags = bool(ops.convert_to_numpy(self.input_is_binary)), bool(ops.convert_to_numpy(self.kernel_is_binary))
        return {(False, False): "float", (True, True): "binary"}.get(flags, "mixed")

    def set_binary(self, input: bool = True, kernel: bool = True) -> None:
        """Make the input and the kernel binary (True) or float (False); seen by an already traced training step."""
        self.input_is_binary.assign(input)
        self.kernel_is_binary.assign(kernel)

    def quantization_errors(self) -> QuantizationErrors | None:
        """Return Q_orig, Q_ours and Q_rel of the latent kernel's sign; None while there are no statistics."""
        metric = self.disentangled_state.metric
        if metric is None:
            return None
        binary = np.where(self.latent_kernel_matrix >= 0, 1.0, -1.0)
        return quantization_errors(ops.convert_to_numpy(self.disentangled_state.reference), binary, metric)

    @contextlib.contextmanager
    def listening(self, listener: Callable[[Any], None]) -> Iterator[None]:
        """Call `listener` with the input of every call of the layer, also while it is traced."""
        self._input_listener = listener
        try:
            yield
        finally:
            self._input_listener = None

    def get_config(self):
        """Return the arguments of the constructor."""
        own = ("input_quantizer", "kernel_quantizer", "disentangled_regularizer", "float_activation")
        serialized = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in own}
        if not self._has_own_regularizer:
            serialized["disentangled_regularizer"] = None
        if self.float_activation is hard_tanh:
            serialized["float_activation"] = "hard_tanh"
        return {**super().get_config(), **serialized}  # type: ignore[misc]


class _Both(keras.regularizers.Regularizer):
    """The sum of the disentangled loss of a kernel and of the regularizer that the user gave."""

    def __init__(self, disentangled: DisentangledRegularizer, users: Any):
        self._disentangled = disentangled
        self._users = users

    def __call__(self, kernel):
        loss = self._disentangled(kernel)
        return loss if self._users is None else loss + ops.cast(self._users(kernel), loss.dtype)


def device_weights(layer: Any) -> list[Any]:
    """Return the float variables of a layer or operator that its computation needs: no flags, statistics, or random states."""
    parts = [layer, *layers_inside(layer)]
    left_out = {id(held) for part in parts if isinstance(part, DisentangledState) for held in part.variables}
    return [one for one in getattr(layer, "weights", ()) if "float" in str(one.dtype) and id(one) not in left_out]


def binary_layers(model: keras.Model) -> list[BinaryLayer]:
    """Return the binary layers of a model, nested models included, from bottom to top, each once."""
    found = [layer for layer in layers_inside(model) if isinstance(layer, BinaryLayer)]
    return list(dict.fromkeys(found))


def required_binary_layers(where: str, model: keras.Model) -> list[BinaryLayer]:
    """Return the binary layers of a model; raise ValueError, with the name of the public function `where`, if it has none."""
    layers = binary_layers(model)
    if not layers:
        raise ValueError(
            f"{where}: model {model.name!r} has no binary layers: it is a float network. Received: {len(model.layers)} layers, "
            "none of them a BinaryConv2D or BinaryDense of bitat_tf.layers. Let binary = bitat_tf.binarize(model) put them in "
            "place of convolutions and dense layers, compile and pass `binary`; bitat_tf.check(model) says which these are. "
            "A float network becomes a float file with tf.lite.TFLiteConverter."
        )
    return layers
