"""What the binary layers share: their state, kept in variables, and the loss of their kernel."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import larq as lq
import larq.layers_base
import numpy as np

from bitat_tf._keras import keras, tf
from bitat_tf.dependency import PatchGeometry, QuantizationErrors, quantization_errors
from bitat_tf.quantizers import RSign, channel_count
from bitat_tf.regularizers import DisentangledRegularizer


class BinaryLayer:
    """Mixin of `BinaryConv2D` and `BinaryDense`, over a quantized layer of Larq.

    Two boolean variables say whether the input and the kernel are binary. Both start as False: a float layer. As variables
    they are saved with the model and seen by a training step that is already traced.
    """

    # What the Larq layer beneath provides.
    name: str
    kernel: Any
    bias: Any
    use_bias: bool
    trainable: bool
    variables: list[Any]
    input_quantizer: Any
    kernel_regularizer: Any
    activation: Any
    add_weight: Callable[..., Any]
    inbound_nodes: list[Any]
    output: Any

    def _prepare_binary(self, kernel_quantizer, disentangled_regularizer, float_activation) -> None:
        """Finish the constructor: the part that comes after Larq's."""
        # Set here, since Larq's constructor warns of a missing `kernel_constraint`: a clipped kernel would not be that of
        # the float layer which this one is at first, and latent weights start from trained ones, far inside [-1, 1].
        self.kernel_quantizer = lq.quantizers.get_kernel_quantizer(kernel_quantizer)
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
        if disentangled_regularizer is None:
            disentangled_regularizer = DisentangledRegularizer(strength=0.0, l1=0.0)
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
        self.float_activation = None if float_activation is None else keras.activations.get(float_activation)
        self._input_listener = None

    def build(self, input_shape):
        """Create the weights of the float layer, the thresholds, the state and the statistics."""
        channel_count(input_shape, f"{type(self).__name__} {self.name!r}")

        def add_flag(name: str) -> tf.Variable:
            return self.add_weight(name, shape=(), dtype=tf.bool, initializer="zeros", trainable=False)

        # Before the kernel: its quantizer reads the flag.
        self.input_is_binary = add_flag("input_is_binary")
        self.kernel_is_binary = add_flag("kernel_is_binary")
        super().build(input_shape)
        if not self.input_quantizer.built:
            # Here, not at the first call: the weights of a layer exist once it is built.
            with tf.name_scope(self.input_quantizer.name):
                self.input_quantizer.build(input_shape)
                self.input_quantizer.built = True
        # Saved and restored like the weights, but not among them: parameter counts and Larq's summary are those of the layer.
        if self.disentangled_regularizer.state is not None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: its DisentangledRegularizer serves another layer already, and holds "
                "that layer's statistics. Give every layer a regularizer of its own."
            )
        self._track_trackable(self.disentangled_regularizer.build(self.kernel.shape), "disentangled_state", overwrite=True)
        self.add_loss(self._disentangled_loss)

    @property
    def disentangled_state(self) -> Any:  # DisentangledState, once the layer is built
        """The variables that hold the layer's statistics and reference weights."""
        return self.disentangled_regularizer.state

    def _disentangled_loss(self) -> tf.Tensor:
        return self.disentangled_regularizer(self.latent_kernel)

    def _get_quantizer(self, name):
        # Larq asks for the quantizer of each variable while it is created.
        if name != "kernel":
            return super()._get_quantizer(name)

        @lq.utils.set_precision(getattr(self.kernel_quantizer, "precision", 32))
        def quantize_if_binary(kernel):
            return tf.where(self.kernel_is_binary, tf.cast(self._kernel_signs(kernel), kernel.dtype), kernel)

        return quantize_if_binary

    def _kernel_signs(self, kernel: tf.Tensor) -> tf.Tensor:
        """Return the quantized kernel without its scale, if it has one that is multiplied with the sums: `_scaled`."""
        if type(self.kernel_quantizer) is lq.quantizers.MagnitudeAwareSign:
            return lq.quantizers.ste_sign(kernel, clip_value=self.kernel_quantizer.clip_value)
        return self.kernel_quantizer(kernel)

    def _scaled(self, sums: tf.Tensor) -> tf.Tensor:
        """Return what the binary kernel alpha * sign(w) makes of its inputs, given the sums of sign(w).

        Sums of signs are integers, exact in any order, on every device; with alpha inside of them each order rounds otherwise.
        """
        if type(self.kernel_quantizer) is not lq.quantizers.MagnitudeAwareSign:
            return sums
        latent = self.latent_kernel
        alpha = tf.stop_gradient(tf.reduce_mean(tf.abs(latent), axis=list(range(latent.shape.rank - 1))))
        return sums * tf.cast(tf.where(self.kernel_is_binary, alpha, tf.ones_like(alpha)), sums.dtype)

    def call(self, inputs):
        """Return the layer's output: of the float layer, or of the binary one."""
        if self._input_listener is not None:
            self._input_listener(inputs)
        # tf.cond, not tf.where, which would choose element by element, also in the gradient of each branch.
        # The cast: a quantizer that was made under another policy of mixed precision computes in another type.
        inputs = tf.cond(
            self.input_is_binary,
            lambda: tf.cast(self.input_quantizer(inputs), inputs.dtype),
            lambda: self._float_input(tf.identity(inputs)),
        )
        with lq.context.quantized_scope(True):
            return self._call_quantized(inputs)

    def _float_input(self, inputs):
        """Return what the kernel of the float layer sees."""
        return inputs if self.float_activation is None else self.float_activation(inputs)

    def _call_quantized(self, inputs):
        # Past Larq's own `call`, which would quantize the input again.
        return super(lq.layers_base.BaseLayer, self).call(inputs)

    def geometry(self, binary: bool) -> PatchGeometry:
        """Return which features of its input a kernel sees, in the binary or in the float layer."""
        raise NotImplementedError

    def input_images(self, inputs: tf.Tensor, binary: bool) -> tf.Tensor:
        """Return the input as pictures of shape (n, height, width, c), as the kernel sees it.

        That is signs for the binary layer, and for the float one the inputs, through `float_activation` if there is one.
        """
        return self.input_quantizer(inputs) if binary else self._float_input(tf.convert_to_tensor(inputs))

    def input_rows(self, inputs: tf.Tensor, binary: bool) -> tf.Tensor:
        """Return the rows that the kernel sees, shape (n, d), of the binary or of the float layer (Eq. 14)."""
        return self.geometry(binary).patches(self.input_images(inputs, binary))

    @property
    def latent_kernel(self) -> tf.Tensor:
        """The float kernel that training changes; the binary one is its quantization."""
        with lq.context.quantized_scope(False):
            return tf.convert_to_tensor(self.kernel)

    @property
    def latent_kernel_matrix(self) -> np.ndarray:
        """The latent kernel as a matrix of shape (d, m), features in the order of the patches."""
        kernel = self.latent_kernel.numpy()
        return kernel.reshape(-1, kernel.shape[-1])

    def set_latent_kernel(self, matrix: np.ndarray) -> None:
        """Assign the latent kernel from a matrix of shape (d, m)."""
        self.kernel.assign(tf.reshape(tf.cast(matrix, self.kernel.dtype), self.kernel.shape))

    @property
    def state(self) -> str:
        """State of the layer: "float", "binary", or "mixed" (only the input or only the kernel is binary)."""
        flags = bool(self.input_is_binary.numpy()), bool(self.kernel_is_binary.numpy())
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
        return quantization_errors(self.disentangled_state.reference.numpy(), binary, metric)

    @contextlib.contextmanager
    def listening(self, listener) -> Iterator[None]:
        """Call `listener` with the input of every call of the layer, also while tf.function traces it."""
        self._input_listener = listener
        try:
            yield
        finally:
            self._input_listener = None

    def get_config(self):
        """Return the arguments of the constructor."""
        activation = self.float_activation
        return {
            **super().get_config(),
            "disentangled_regularizer": keras.saving.serialize_keras_object(self.disentangled_regularizer),
            "float_activation": None if activation is None else keras.activations.serialize(activation),
        }


def default_input_quantizer(input_quantizer):
    """Return RSign where the user named none."""
    return RSign() if input_quantizer is None else input_quantizer


def binary_layers(model: keras.Model) -> list[BinaryLayer]:
    """Return the binary layers of a model, nested models included, from bottom to top, each once."""
    found = [layer for layer in model._flatten_layers(include_self=False) if isinstance(layer, BinaryLayer)]
    return list(dict.fromkeys(found))
