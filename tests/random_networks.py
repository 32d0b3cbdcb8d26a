"""Random functional networks: what users build, in odd combinations."""

import keras
import numpy as np

from bitat_tf.layers import RPReLU

L = keras.layers
ACTIVATIONS = (None, None, "relu", "relu", "tanh", "sigmoid", "swish", "elu")


class RandomNetwork:
    """Builds a random functional model of one or more inputs and outputs; the same seed gives the same model."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.number = 0
        self.shared = []

    def choose(self, options):
        return options[self.random.integers(len(options))]

    def name(self, kind: str) -> str:
        self.number += 1
        return f"{kind}_{self.number}"

    def build(self) -> keras.Model:
        size = int(self.choose((8, 9, 12)))
        inputs = [keras.Input((size, size, int(self.choose((3, 4, 32)))), name="image")]
        x = L.Conv2D(int(self.choose((8, 32))), 3, padding="same", name="stem")(inputs[0])
        if self.random.random() < 0.2:
            inputs.append(keras.Input((size, size, 5), name="second_image"))
            y = L.Conv2D(x.shape[-1], 3, padding="same", name="second_stem")(inputs[1])
            x = L.Add(name="join")([x, y])
        for _ in range(self.random.integers(2, 6)):
            x = self.block(x)
        outputs = [self.head(x, "logits")]
        if self.random.random() < 0.2:
            outputs.append(self.head(x, "other"))
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0])
        self.randomize(model)
        return model

    def head(self, x, name: str):
        x = self.choose((L.GlobalAveragePooling2D, L.Flatten))(name=self.name("flat"))(x)
        if self.random.random() < 0.6:
            x = L.Dense(int(self.choose((10, 32))), activation=self.choose(ACTIVATIONS), name=self.name("dense"))(x)
            x = self.maybe_normalization(x)
        return L.Dense(4, activation=self.choose((None, "softmax")), name=name)(x)

    def block(self, x):
        kinds = [self.convolution] * 4 + [
            self.depthwise,
            self.separable,
            self.pooling,
            self.residual,
            self.branches,
            self.nested,
            self.widening,
            self.twice,
            self.odds,
        ]
        return self.choose(kinds)(x)

    def convolution(self, x, filters=None, stride=None):
        filters = filters or int(self.choose((8, 24, 32, 64)))
        stride = stride or (int(self.choose((1, 1, 2))) if min(x.shape[1:3]) >= 6 else 1)
        channels, groups = x.shape[-1], 1
        if channels % 32 == 0 and channels >= 64 and filters % (channels // 32) == 0 and self.random.random() < 0.3:
            groups = channels // 32
        elif channels % 2 == 0 and filters % 2 == 0 and self.random.random() < 0.1:
            groups = 2
        dilation = 2 if stride == 1 and min(x.shape[1:3]) >= 6 and self.random.random() < 0.1 else 1
        x = L.Conv2D(
            filters,
            int(self.choose((1, 3, 3))) if min(x.shape[1:3]) >= 5 else 1,
            stride,
            padding=self.choose(("same", "same", "valid")) if dilation == 1 else "same",
            groups=groups,
            dilation_rate=dilation,
            use_bias=bool(self.random.random() < 0.5),
            activation=self.choose(ACTIVATIONS),
            name=self.name("conv"),
        )(x)
        return self.maybe_activation(self.maybe_normalization(x))

    def depthwise(self, x):
        multiplier = int(self.choose((1, 1, 2)))
        arguments = {"padding": "same", "depth_multiplier": multiplier, "activation": self.choose(ACTIVATIONS)}
        x = L.DepthwiseConv2D(3, 1, use_bias=bool(self.random.random() < 0.5), name=self.name("depthwise"), **arguments)(x)
        return self.convolution(self.maybe_activation(self.maybe_normalization(x)))

    def separable(self, x):
        return L.SeparableConv2D(
            int(self.choose((8, 32))), 3, padding="same", activation=self.choose(ACTIVATIONS), name=self.name("separable")
        )(x)

    def pooling(self, x):
        if min(x.shape[1:3]) < 4:
            return x
        x = self.choose((L.MaxPooling2D, L.AveragePooling2D))(2, padding="same", name=self.name("pool"))(x)
        return self.maybe_normalization(x)

    def residual(self, x):
        y = self.same_size(self.same_size(x, x.shape[-1]), x.shape[-1])
        return self.maybe_activation(L.Add(name=self.name("add"))([x, y]))

    def same_size(self, x, filters: int):
        x = L.Conv2D(filters, int(self.choose((1, 3))), padding="same", name=self.name("conv"))(x)
        return self.maybe_activation(self.maybe_normalization(x))

    def widening(self, x):
        """As in ReActNet: a shortcut of average pooling around strides, one of the input twice where the filters double."""
        stride = 2 if min(x.shape[1:3]) >= 6 and self.random.random() < 0.5 else 1
        y = L.Conv2D(x.shape[-1], 3, stride, padding="same", use_bias=False, name=self.name("conv"))(x)
        y = L.BatchNormalization(name=self.name("bn"))(y)
        shortcut = L.AveragePooling2D(2, padding="same", name=self.name("pool"))(x) if stride == 2 else x
        x = L.ReLU(name=self.name("relu"))(L.Add(name=self.name("add"))([y, shortcut]))
        if x.shape[-1] > 32:
            return x
        y = L.Conv2D(2 * x.shape[-1], 1, use_bias=False, name=self.name("conv"))(x)
        y = self.maybe_normalization(y)
        wide = L.Concatenate(name=self.name("concat"))([x, x])
        return L.ReLU(name=self.name("relu"))(L.Add(name=self.name("add"))([y, wide]))

    def branches(self, x):
        parts = [self.same_size(x, int(self.choose((8, 32)))) for _ in range(2)]
        return L.Concatenate(name=self.name("concat"))([*parts, x] if self.random.random() < 0.5 else parts)

    def nested(self, x):
        unknown = self.random.random() < 0.3
        inner_inputs = keras.Input((None, None, x.shape[-1]) if unknown else x.shape[1:], name=self.name("inner_input"))
        y = self.same_size(inner_inputs, x.shape[-1])
        if self.random.random() < 0.3:
            innermost = keras.Sequential(
                [keras.Input(y.shape[1:]), L.Conv2D(16, 3, padding="same", name=self.name("conv")), L.ReLU()]
            )
            y = innermost(y)
        else:
            y = self.same_size(y, x.shape[-1])
        model = keras.Model(inner_inputs, y, name=self.name("nested"))
        if y.shape[-1] == x.shape[-1] and self.random.random() < 0.5:
            return model(model(x))  # a nested model, shared
        return model(x)

    def twice(self, x):
        layer = L.Conv2D(x.shape[-1], 3, padding="same", activation=self.choose(ACTIVATIONS), name=self.name("shared"))
        activation = L.ReLU(name=self.name("shared_relu"))
        return activation(layer(activation(layer(x))))

    def odds(self, x):
        kind = self.random.integers(10)
        if kind == 0:
            return L.Dropout(0.3, name=self.name("dropout"))(x)
        if kind == 1:
            return self.convolution(L.ZeroPadding2D(1, name=self.name("pad"))(x))
        if kind == 2:
            return L.PReLU(shared_axes=[1, 2], name=self.name("prelu"))(x)
        if kind == 3:
            return L.UpSampling2D(2, name=self.name("up"))(x) if x.shape[1] <= 6 else x
        if kind == 4:  # a gate, as in squeeze-and-excitation
            gate = L.GlobalAveragePooling2D(keepdims=True, name=self.name("squeeze"))(x)
            gate = L.Conv2D(x.shape[-1], 1, activation="sigmoid", name=self.name("excite"))(gate)
            return L.Multiply(name=self.name("gate"))([x, gate])
        if kind == 5:  # a dense layer on every pixel
            return self.maybe_activation(L.Dense(int(self.choose((8, 32))), name=self.name("dense"))(x))
        if kind == 6:
            return L.Conv2DTranspose(int(self.choose((8, 16))), 3, padding="same", name=self.name("transposed"))(x)
        if kind == 7:  # shifts before what takes them up, and what lets them through
            return self.pooling(RPReLU(name=self.name("rprelu"))(x))
        if kind == 8:  # a pooling before a convolution: bits are pooled, or a shift goes through
            x = self.pooling(self.maybe_normalization(x))
            return self.maybe_activation(self.same_size(x, 32))
        return x * 0.5 + 0.25  # operators in the graph

    def maybe_normalization(self, x):
        return L.BatchNormalization(name=self.name("bn"))(x) if self.random.random() < 0.6 else x

    def maybe_activation(self, x):
        kind = self.random.integers(6)
        if kind < 2:
            return L.ReLU(name=self.name("relu"))(x)
        if kind == 2:
            return L.ReLU(6.0, name=self.name("relu6"))(x)
        if kind == 3:
            return L.Activation("relu", name=self.name("activation"))(x)
        return x

    def randomize(self, model: keras.Model) -> None:
        for weight in model.weights:
            name = weight.name
            if name.startswith("moving_variance"):
                value = self.random.uniform(0.5, 2, weight.shape)
            elif name.startswith("gamma"):
                value = self.random.uniform(0.5, 1.5, weight.shape) * self.random.choice([-1, 1], weight.shape)
            elif name.startswith(("bias", "beta", "moving_mean", "alpha", "shift")):
                value = self.random.normal(0, 0.3, weight.shape)
            else:
                value = weight.numpy()
            weight.assign(value)

    def inputs(self, model: keras.Model, count: int = 4):
        arrays = [self.random.normal(size=(count, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
        return arrays if len(arrays) > 1 else arrays[0]
