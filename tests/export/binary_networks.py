"""Random binary networks: what users build and what is odd, on demand with weights that make every value exact."""

import keras
import numpy as np
import tensorflow as tf

from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers

L = keras.layers
KERNELS = ((1, 1), (3, 3), (3, 3), (3, 3), (5, 5), (7, 7), (1, 3), (5, 1), (2, 2))
CHANNELS = (1, 3, 8, 31, 32, 33, 64, 65)


@keras.saving.register_keras_serializable(package="tests")
class PixelShuffle(L.Layer):
    """Four channels become one of twice the size."""

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, 2)


class BinaryNetwork:
    """A random functional model of binary and float layers, binarized; the same seed gives the same model.

    Args:
        seed: Of all that is drawn.
        exact: Whether all values before the last pooling are multiples of a power of two that float32 holds, so that every
            order of computation gives the same bits, and many values lie exactly on a threshold.
    """

    def __init__(self, seed: int, exact: bool = False):
        self.random = np.random.default_rng(seed)
        self.exact = exact
        self.number = 0

    def choose(self, options):
        return options[self.random.integers(len(options))]

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def name(self, kind: str) -> str:
        self.number += 1
        return f"{kind}_{self.number}"

    def build(self) -> keras.Model:
        size = int(self.choose((1, 5, 7, 8, 12)))
        inputs = [keras.Input((size, size, int(self.choose((1, 3, 4)))), name="image")]
        x = self.stem(inputs[0])
        if self.chance(0.2):
            inputs.append(keras.Input((size, size, 2), name="second_image"))
            x = L.Add(name="join")([x, self.stem(inputs[1], x.shape[-1])])
        for _ in range(self.random.integers(1, 5)):
            x = self.block(x)
        outputs = [self.head(x, "logits")]
        if self.chance(0.2):
            outputs.append(self.head(x, "other"))
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0], name="net")
        self.randomize(model)
        for layer in binary_layers(model):
            layer.set_binary()
        return model

    def stem(self, x, filters=None):
        filters = filters or int(self.choose((8, 31, 32, 64)))
        x = L.Conv2D(filters, 3, padding="same", use_bias=self.chance(0.5), name=self.name("stem"))(x)
        return self.normalization(x) if self.chance(0.7) else x

    def head(self, x, name: str):
        x = self.choose((L.GlobalAveragePooling2D, L.Flatten))(name=self.name("flat"))(x)
        for _ in range(self.random.integers(0, 3)):
            x = self.after(BinaryDense(int(self.choose((10, 32, 33))), use_bias=self.chance(0.5), name=self.name("dense"))(x))
        return L.Dense(4, activation=self.choose((None, "softmax")), name=name)(x)

    def block(self, x):
        kinds = [self.plain] * 3 + [
            self.residual,
            self.strided,
            self.pooled,
            self.branches,
            self.parts,
            self.nested,
            self.twice,
            self.squeeze,
            self.shuffle,
            self.resize,
            self.depthwise,
            self.padded,
        ]
        return self.choose(kinds)(x)

    def convolution(self, x, filters=None, stride=1, same=None):
        """A binary convolution of any geometry that fits the picture."""
        filters = filters or int(self.choose(CHANNELS))
        kernel = self.choose(KERNELS)
        dilation = 2 if stride == 1 and kernel != (1, 1) and self.chance(0.15) else 1
        reach = [(length - 1) * dilation + 1 for length in kernel]
        fits = all(size >= length for size, length in zip(x.shape[1:3], reach, strict=True))
        padding = "same" if same or not fits or self.chance(0.7) else "valid"
        groups = 1
        if x.shape[-1] == 64 and filters % 2 == 0 and self.chance(0.4):
            groups = 2
        # larq-compute-engine computes zero padding wrongly where the kernel is larger than the picture.
        pad_values = 0.0 if fits and padding == "same" and self.chance(0.15) else 1.0
        return BinaryConv2D(
            filters,
            kernel,
            stride,
            padding=padding,
            pad_values=pad_values,
            dilation_rate=dilation,
            groups=groups,
            use_bias=self.chance(0.3),
            kernel_quantizer=self.choose(("magnitude_aware_sign", "magnitude_aware_sign", "ste_sign")),
            input_quantizer=self.choose((None, None, "ste_sign")),
            name=self.name("binary"),
        )(x)

    def after(self, x):
        """What stands between a binary layer and the next one."""
        for _ in range(self.random.integers(0, 4)):
            kind = self.random.integers(8)
            if kind < 3:
                x = self.normalization(x)
            elif kind == 3:
                x = L.ReLU(name=self.name("relu"))(x)
            elif kind == 4:
                x = self.choose((L.ReLU(6.0, name=self.name("relu6")), L.LeakyReLU(0.25, name=self.name("leaky"))))(x)
            elif kind == 5:
                x = RPReLU(name=self.name("rprelu"))(x)
            elif kind == 6 and not self.exact:
                x = L.Activation(self.choose(("tanh", "sigmoid", "elu", "softplus", "swish")), name=self.name("function"))(x)
            elif kind == 7:
                x = L.PReLU(shared_axes=list(range(1, len(x.shape) - 1)) or None, name=self.name("prelu"))(x)
        return x

    def normalization(self, x):
        return L.BatchNormalization(epsilon=0.0 if self.exact else 1e-3, name=self.name("bn"))(x)

    def plain(self, x):
        return self.after(self.convolution(x))

    def residual(self, x):
        for _ in range(self.random.integers(1, 3)):
            x = L.Add(name=self.name("add"))([x, self.after(self.convolution(x, x.shape[-1], same=True))])
            x = RPReLU(name=self.name("rprelu"))(x) if self.chance(0.5) else self.after(x)
        return x

    def strided(self, x):
        """A shortcut of average pooling around a stride, as in ReActNet."""
        if min(x.shape[1:3]) < 4:
            return self.plain(x)
        shortcut = L.AveragePooling2D(2, padding="same", name=self.name("pool"))(x)
        if self.exact and any(size % 2 for size in x.shape[1:3]):
            shortcut = L.MaxPooling2D(2, padding="same", name=self.name("pool"))(x)
        y = self.after(self.convolution(x, x.shape[-1], stride=2, same=True))
        return self.after(L.Add(name=self.name("add"))([y, shortcut]))

    def pooled(self, x):
        """Max pooling between binary layers."""
        if min(x.shape[1:3]) < 3:
            return self.plain(x)
        x = self.after(self.convolution(x, same=True))
        pool = self.choose((2, 3))
        return L.MaxPooling2D(pool, self.choose((1, 2)), self.choose(("same", "valid")), name=self.name("pool"))(x)

    def branches(self, x):
        found = [self.after(self.convolution(x, same=True)) for _ in range(self.random.integers(2, 4))]
        return L.Concatenate(name=self.name("concat"))([*found, x] if self.chance(0.5) else found)

    def parts(self, x):
        """The channels in two parts."""
        if x.shape[-1] < 2:
            return self.plain(x)
        half = x.shape[-1] // 2
        return L.Concatenate(name=self.name("concat"))([self.convolution(x[..., :half], same=True), x[..., half:]])

    def nested(self, x):
        inner_inputs = keras.Input(x.shape[1:], name=self.name("inner_input"))
        y = self.after(self.convolution(inner_inputs, x.shape[-1], same=True))
        inner = keras.Model(inner_inputs, L.Add(name=self.name("add"))([y, inner_inputs]), name=self.name("nested"))
        return inner(inner(x)) if self.chance(0.5) else inner(x)

    def twice(self, x):
        """A binary layer that is called twice."""
        layer = BinaryConv2D(x.shape[-1], 3, padding="same", name=self.name("shared"))
        between = RPReLU(name=self.name("rprelu"))
        return between(layer(between(layer(x))))

    def squeeze(self, x):
        """A gate for every channel, as in squeeze-and-excitation."""
        gate = L.GlobalMaxPooling2D(keepdims=True, name=self.name("squeeze"))(x)
        activation = "relu" if self.exact else "sigmoid"
        gate = L.Conv2D(x.shape[-1], 1, activation=activation, name=self.name("excite"))(gate)
        return x if self.exact else L.Multiply(name=self.name("gate"))([x, gate])

    def shuffle(self, x):
        if x.shape[1] > 6:
            return self.plain(x)
        return PixelShuffle(name=self.name("shuffle"))(self.after(self.convolution(x, 4 * int(self.choose((3, 8))), same=True)))

    def resize(self, x):
        return L.UpSampling2D(2, name=self.name("up"))(x) if x.shape[1] <= 6 else self.plain(x)

    def depthwise(self, x):
        return self.after(L.DepthwiseConv2D(3, padding="same", name=self.name("depthwise"))(x)) if not self.exact else x

    def padded(self, x):
        return self.plain(L.ZeroPadding2D(((0, 1), (1, 0)), name=self.name("pad"))(x))

    def randomize(self, model: keras.Model) -> None:
        """Give weights values of every kind: negative and zero gammas, dead channels, thresholds that sums meet exactly."""
        for weight in model.weights:
            name = weight.name
            if name in ("input_is_binary", "kernel_is_binary") or "disentangled" in weight.path:
                continue
            if name == "kernel" or name.endswith("_kernel"):
                weight.assign(self.kernel(weight))
            elif name == "gamma":
                weight.assign(self.values(weight.shape, (0.5, 1.0, 2.0)) * self.random.choice([-1, 1, 1, 0], weight.shape))
            elif name == "moving_variance":
                weight.assign(self.values(weight.shape, (0.25, 1.0, 4.0)) * (1 if self.exact else 5))
            elif name in ("bias", "beta", "moving_mean", "shift_before", "shift_after", "threshold"):
                weight.assign(self.values(weight.shape, (-2.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 3.0)))
            elif name == "alpha":
                weight.assign(self.values(weight.shape, (0.0, 0.25, 0.5, 0.5, -0.25)))

    def values(self, shape, options):
        if self.exact:
            return self.random.choice(options, shape)
        return self.random.choice(options, shape) * self.random.uniform(0.8, 1.2, shape)

    def kernel(self, weight):
        shape = weight.shape
        kernel = self.random.choice([-0.5, 0.5], shape) if self.exact else self.random.normal(size=shape)
        if "stem" in weight.path and self.exact:
            kernel = self.random.choice([-0.5, 0.0, 0.25, 0.5], shape)
        kernel = kernel / (1 if self.exact else np.sqrt(np.prod(shape[:-1])))
        if "binary" in weight.path and self.chance(0.2):
            kernel[..., self.random.integers(shape[-1])] = 0.0  # a dead channel
        return kernel

    def inputs(self, model: keras.Model, count: int = 4) -> list[np.ndarray]:
        if self.exact:
            drawn = [self.random.integers(-4, 5, (count, *tensor.shape[1:])) for tensor in model.inputs]
        else:
            drawn = [self.random.normal(size=(count, *tensor.shape[1:])) for tensor in model.inputs]
        return [one.astype(np.float32) for one in drawn]
