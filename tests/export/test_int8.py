"""int8 for what is not binary: fake quantization against its formula, files against the networks that they come from."""

import numpy as np
import pytest
from larq_compute_engine.tflite.python.interpreter import Interpreter

import bitat_tf
from bitat_tf._keras import keras, tf
from bitat_tf.export import FakeQuantization, FakeQuantizedSign, quantize_rest, run_tflite, to_tflite
from bitat_tf.export.interface import on_grid
from bitat_tf.layers import BinaryConv2D, RPReLU, binary_layers
from bitat_tf.tflite_file import inspect
from bitat_tf.workflow import load_model

L = keras.layers
SHAPE = (12, 12, 3)


def mixed_network():
    """Return a network with most kinds of layers that can stand between binary ones, for pixels 0..255."""
    inputs = keras.Input(SHAPE)
    x = L.Rescaling(1 / 127.5, -1.0, name="scaled")(inputs)
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(32, 3, padding="same", name="stem")(x)))
    x = shortcut = L.MaxPooling2D()(x)
    for number in (1, 2):  # the first of the two writes bits for the second
        x = L.BatchNormalization()(BinaryConv2D(32, 3, padding="same", use_bias=False, name=f"binary_{number}")(x))
    x = L.PReLU("ones", shared_axes=[1, 2])(L.Add()([x, shortcut]))
    x = L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    gate = L.Conv2D(32, 1, activation="sigmoid", name="gate")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.Multiply()([x, gate])
    y = L.BatchNormalization()(BinaryConv2D(32, 1, use_bias=False, name="binary_3")(x))
    x = L.GlobalAveragePooling2D()(L.AveragePooling2D()(L.Concatenate()([x, y])))
    return keras.Model(inputs, L.Dense(5, "softmax", name="top")(x), name="mixed")


def reactnet():
    return bitat_tf.applications.ReActNet(SHAPE, 5, width=0.5, blocks=((64, 1), (128, 2)))


def scaled_network():
    """Return one for pixels 0..1, without a layer that scales them."""
    inputs = keras.Input(SHAPE)
    x = L.Conv2D(32, 3, padding="same", name="stem")(inputs)
    x = L.BatchNormalization()(BinaryConv2D(32, 3, padding="same", use_bias=False, name="binary")(L.BatchNormalization()(x)))
    outputs = L.Dense(5, name="top")(L.GlobalAveragePooling2D()(RPReLU()(x)))
    return keras.Model(inputs, outputs, name="scaled")


def trained_by_chance(network, seed=0):
    generator = np.random.default_rng(seed)
    for layer in network.layers:
        if isinstance(layer, L.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights(
                [generator.uniform(0.5, 1.5, size), *(generator.normal(scale=0.3, size=size) for _ in range(2))]
                + [generator.uniform(0.5, 2, size)]
            )
        elif isinstance(layer, RPReLU):
            layer.set_weights([generator.normal(scale=0.2, size=weight.shape) for weight in layer.get_weights()])
    for layer in binary_layers(network):
        layer.set_binary()
    return network


PIXELS = np.random.default_rng(0).integers(0, 256, (48, *SHAPE)).astype(np.float32)
NETWORKS = {"mixed": mixed_network, "reactnet": reactnet}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function: name, type of the input -> the float network, the quantized one, path of the file, report."""
    done, floats, folder = {}, {}, tmp_path_factory.mktemp("int8")

    def get(name, input_type="float32"):
        if name not in floats:
            keras.utils.set_random_seed(0)
            floats[name] = trained_by_chance(NETWORKS[name]())
        if (name, input_type) not in done:
            quantized = quantize_rest(floats[name], PIXELS, input_type)
            path = folder / f"{name}_{input_type}.tflite"
            done[name, input_type] = (floats[name], quantized, path, to_tflite(quantized, path, PIXELS))
        return done[name, input_type]

    return get


def expected_fake_quantization(x, minimum, maximum):
    """The formula of the docstring; 0 is on the grid, so that the range moves by less than a step."""
    scale = (maximum - minimum) / 255
    zero = np.clip(np.floor(-minimum / scale + 0.5), 0, 255)
    return scale * (np.clip(np.floor(x / scale + zero + 0.5), 0, 255) - zero)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("minimum", "maximum"), [(0.0, 6.0), (-1.0, 1.1), (-0.3, 2.1), (-7.77, 0.0), (-1e-3, 5.0)])
def test_fake_quantization_is_its_formula(minimum, maximum, fixed):
    x = np.random.default_rng(0).uniform(minimum - 0.5, maximum + 0.5, 4000).astype(np.float32)
    found = FakeQuantization(minimum, maximum, fixed)(x).numpy()
    expected = expected_fake_quantization(x.astype(float), minimum, maximum)
    step = (maximum - minimum) / 255
    wrong = np.abs(found - expected) > 1e-4 * step + 1e-6
    assert wrong.mean() < 2e-3  # float32 rounds a few values next to the middle of two steps to the other side
    assert np.abs(found - expected).max() < 1.01 * step
    assert len(np.unique(found.round(6))) <= 256
    assert FakeQuantization(minimum, maximum, fixed)(tf.zeros(1)).numpy() == 0


def test_gradients_of_fake_quantization():
    layer = FakeQuantization(-1.0, 2.0)
    x = tf.constant([-5.0, -0.5, 0.3, 1.0, 4.0, 9.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x) * tf.constant([1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0]))
    slopes, minimum, maximum = tape.gradient(total, [x, layer.minimum, layer.maximum])
    assert slopes.numpy().tolist() == [0, 10, 100, 1000, 0, 0]
    # What is clipped has the value of the range's end: the output moves as the end does.
    assert (minimum.numpy(), maximum.numpy()) == (1.0, 110000.0)
    assert FakeQuantization(-1.0, 2.0, fixed=True)(x).shape == x.shape
    fixed = FakeQuantization(-1.0, 2.0, fixed=True)
    fixed.build(x.shape)
    assert fixed.trainable_weights == []


def test_sign_of_rounded_sums():
    layer, step = FakeQuantizedSign(step=0.1), 0.1
    layer.build((None, 3))
    layer.threshold.assign([0.0, 0.26, -0.26])
    x = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    x[:2] = [[1e6, -1e6, -1e6], [-0.049, -0.309, 0.211]]
    sums = x.astype(float) + np.array([0.0, 0.26, -0.26])
    expected = np.where(np.clip(np.floor(sums / step + 0.5), -128, 127) >= 0, 1, -1)
    assert (layer(x).numpy() == expected).mean() > 0.998
    assert layer(x).numpy()[:2].tolist() == [[1, -1, -1], [1, 1, 1]]  # beyond the grid; rounded to 0
    assert FakeQuantizedSign.from_config(layer.get_config()).step == step


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_is_int8_but_for_its_ends(name, exported):
    model, _, path, report = exported(name, "uint8")
    found = inspect(path)
    operators = found.operators
    types = [(operator.name, {tensor.type for tensor in operator.outputs}) for operator in operators]
    assert report.fused_binary == report.expected_binary == len(binary_layers(model))
    assert all(kinds <= {"int8", "bits", "int32"} for _, kinds in types[:-1]), types
    assert types[-1] == ("DEQUANTIZE", {"float32"})
    for kind in ("CONV_2D", "FULLY_CONNECTED", "ADD", "PRELU", "MEAN", "CONCATENATION", "AVERAGE_POOL_2D"):
        assert kind in report.operators
    assert [number for number, (kind, _) in enumerate(types) if kind == "DEQUANTIZE"] == [len(types) - 1]
    bits = [kinds == {"bits"} for kind, kinds in types if kind == "LceBconv2d"]
    assert bits.count(True) == (1 if name == "mixed" else 0)
    assert found.facts["int8"] is True
    assert found.facts["pixels"] == "bytes"


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_near_those_of_the_float_network(name, exported):
    model, quantized, path, report = exported(name)
    expected = model.predict(PIXELS, verbose=0)
    rounded = quantized.predict(PIXELS, verbose=0)
    found = run_tflite(path.read_bytes(), PIXELS)
    # 8 bits, once a layer: a few of 255 steps on average. Bits on a threshold may fall to the other side, and do here in every
    # sample, as the networks are not trained.
    spread = np.ptp(expected)
    assert np.abs(rounded - expected).mean() < 0.05 * spread
    assert np.abs(rounded - expected).max() < 0.25 * spread
    assert np.abs(found - rounded).mean() < 0.03 * spread
    assert report.outputs[0].agreement > 0.95
    assert report.outputs[0].samples == len(PIXELS)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_types_of_input_give_the_same_outputs(name, exported):
    outputs = [run_tflite(exported(name, kind)[2].read_bytes(), PIXELS) for kind in ("float32", "int8", "uint8")]
    assert np.array_equal(outputs[1], outputs[2])
    # float32 becomes the same bytes inside of the file.
    assert np.array_equal(outputs[0], outputs[1])
    assert [exported(name, kind)[3].input_type for kind in ("float32", "int8", "uint8")] == ["float32", "int8", "uint8"]


@pytest.mark.parametrize(("kind", "offset"), [("uint8", 0), ("int8", 128)])
@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_of_a_picture_go_in_as_they_are(name, kind, offset, exported):
    _, quantized, path, _ = exported(name, kind)
    interpreter = Interpreter(path.read_bytes(), use_indirect_bgemm=True)
    assert [np.dtype(one) for one in interpreter.input_types] == [np.dtype(kind)]
    found = interpreter.predict((PIXELS - offset).astype(kind))
    rounded = quantized.predict(PIXELS, verbose=0)
    assert np.array_equal(found, run_tflite(path.read_bytes(), PIXELS))
    assert np.abs(found - rounded).mean() < 0.03 * np.ptp(rounded)
    assert (found.argmax(axis=1) == rounded.argmax(axis=1)).mean() > 0.95


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_other_inputs_have_a_scale_and_a_zero_point(kind, tmp_path):
    model = trained_by_chance(scaled_network())
    x = (PIXELS / 255 - 0.25).astype(np.float32)
    quantized = quantize_rest(model, x, kind)
    to_tflite(quantized, tmp_path / "model.tflite", x)
    content = (tmp_path / "model.tflite").read_bytes()
    assert inspect(tmp_path / "model.tflite").facts["pixels"] is None
    interpreter = Interpreter(content, use_indirect_bgemm=True)
    scale, zero = interpreter.input_scales[0], interpreter.input_zero_points[0]
    assert scale == pytest.approx(np.ptp(x) / 255, rel=0.01)
    assert zero + (0 if kind == "uint8" else 128) == round(0.25 * 255)
    stored = np.clip(np.rint(x / scale) + zero, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
    found = interpreter.predict(stored)
    assert np.array_equal(found, run_tflite(content, x))
    rounded = quantized.predict(x, verbose=0)
    assert np.abs(found - rounded).max() < 0.2 * np.ptp(rounded)


def test_values_on_the_grid_of_a_file():
    x = np.array([[-1.0, 0.0, 0.26, 300.0]])
    assert on_grid(x, np.dtype("float32"), None, None, False).tolist() == x.astype(np.float32).tolist()
    assert on_grid(x, np.dtype("int8"), 0.1, -10, False).tolist() == [[-20, -10, -7, 127]]
    assert on_grid(x, np.dtype("uint8"), 0.1, 5, False).tolist() == [[0, 5, 8, 255]]
    assert on_grid(x, np.dtype("uint8"), 0.1, 5, True).tolist() == [[0, 0, 0, 255]]
    assert on_grid(x, np.dtype("int8"), 0.1, 5, True).tolist() == [[-128, -128, -128, 127]]
    assert on_grid(x, np.dtype("uint8"), 0.1, 5, True).dtype == np.uint8


def test_concatenations_are_written_after_training(tmp_path):
    quantized = quantize_rest(trained_by_chance(reactnet()), PIXELS)
    for layer in quantized.layers:
        if isinstance(layer, FakeQuantization) and not layer.fixed:  # each moves by itself, as in a training
            layer.maximum.assign(layer.maximum * np.random.default_rng(len(layer.name)).uniform(1, 1.0002))
    assert to_tflite(quantized, tmp_path / "model.tflite", PIXELS).operators["CONCATENATION"] == 2


def test_training_adapts_ranges_and_leaves_statistics(tmp_path):
    model = trained_by_chance(mixed_network())
    quantized = quantize_rest(model, PIXELS, "uint8")
    labels = np.random.default_rng(1).integers(0, 5, len(PIXELS))
    normalizations = [layer for layer in quantized.layers if isinstance(layer, L.BatchNormalization)]
    thresholds = [layer.input_quantizer for layer in quantized.layers if hasattr(layer, "input_quantizer")]
    ranges = [layer for layer in quantized.layers if isinstance(layer, FakeQuantization)]

    def weights(layers):
        return [weight for layer in layers for weight in layer.get_weights()]

    before = [weights(layers) for layers in (normalizations, thresholds, ranges)]
    quantized.compile(keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy())
    history = quantized.fit(PIXELS, labels, epochs=1, batch_size=16, verbose=0).history
    after = [weights(layers) for layers in (normalizations, thresholds, ranges)]
    assert np.isfinite(history["loss"]).all()
    assert normalizations
    assert all(np.array_equal(old, new) for old, new in zip(before[0], after[0], strict=True))
    for old, new in zip(before[1:], after[1:], strict=True):
        assert any(not np.array_equal(*pair) for pair in zip(old, new, strict=True))
    fixed = [layer for layer in ranges if layer.fixed]
    assert [layer.initial_range[1] for layer in fixed[-1:]] == [255 / 256]  # of softmax
    assert all(np.allclose(weights([layer]), layer.initial_range) for layer in fixed)

    quantized.save(tmp_path / "quantized.keras")
    loaded = load_model(tmp_path / "quantized.keras")
    assert np.array_equal(loaded.predict(PIXELS, verbose=0), quantized.predict(PIXELS, verbose=0))
    files = [tmp_path / "own.tflite", tmp_path / "loaded.tflite"]
    for network, path in zip((quantized, loaded), files, strict=True):
        to_tflite(network, path, PIXELS, minimum_agreement=0.5)
    assert np.array_equal(*(run_tflite(path.read_bytes(), PIXELS) for path in files))
    assert inspect(files[1]).inputs[0].type == "uint8"


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "relu6"])
def test_functions_inside_of_layers_leave_no_float_kernel(activation, tmp_path):
    inputs = keras.Input((6, 6, 3))
    x = L.Conv2D(32, 3, padding="same", activation=getattr(tf.nn, activation) if activation == "relu6" else activation)(inputs)
    x = L.BatchNormalization()(BinaryConv2D(32, 3, use_bias=False, activation="relu", name="binary")(x))
    x = L.Dense(5, name="logits")(L.GlobalAveragePooling2D()(x))
    model = trained_by_chance(keras.Model(inputs, L.Softmax()(x)))
    data = np.random.default_rng(0).normal(size=(32, 6, 6, 3)).astype(np.float32)
    report = to_tflite(quantize_rest(model, data), tmp_path / "model.tflite", data)
    operators = inspect(tmp_path / "model.tflite").operators
    assert all(tensor.type in ("int8", "bits") for operator in operators[:-1] for tensor in operator.outputs), report.operators
    assert report.operators["DEQUANTIZE"] == 1


def two_outputs():
    inputs = keras.Input((4, 4, 3))
    x = BinaryConv2D(8, 3)(inputs)
    return keras.Model(inputs, [x, L.ReLU()(x)])


def float_network():
    inputs = keras.Input((4, 4, 3))
    return keras.Model(inputs, BinaryConv2D(8, 3)(inputs))


def layer_of_two_outputs():
    inputs = keras.Input((4, 4, 4))
    x = BinaryConv2D(8, 3)(inputs)
    return trained_by_chance(keras.Model(inputs, L.Add()(tf.split(x, 2, axis=-1))))


def binary_network():
    return trained_by_chance(float_network())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FakeQuantization(0.5, 1.0), "minimum=0.5, maximum=1.0"),
        (lambda: FakeQuantization(0.0, 0.0), "A tensor that is 0 on all data has no range"),
        (lambda: FakeQuantization(-np.inf, 1.0), "finite minimum <= 0 <= maximum"),
        (lambda: FakeQuantization(0.0, np.nan), "maximum=nan"),
        (lambda: FakeQuantization(0.0, 1.0, input_type="int4"), "Received: 'int4'"),
        (lambda: FakeQuantizedSign(step=0.0), "`step` must be positive. Received: step=0.0"),
        (lambda: FakeQuantizedSign(step=np.nan), "Received: step=nan"),
        (lambda: quantize_rest(binary_network(), np.ones((2, 4, 4, 3)), "int16"), "`input_type`.*Received: input_type='int16'"),
        (lambda: quantize_rest(two_outputs(), np.ones((2, 4, 4, 3))), "1 inputs and 2 outputs"),
        (lambda: quantize_rest(binary_network(), np.ones((2, 4, 4, 1))), r"Received: \(2, 4, 4, 1\)"),
        (lambda: quantize_rest(binary_network(), np.ones((0, 4, 4, 3))), r"Received: \(0, 4, 4, 3\)"),
        (lambda: quantize_rest(binary_network(), np.full((2, 4, 4, 3), np.nan)), "`data` must be finite"),
        (lambda: quantize_rest(float_network(), np.ones((2, 4, 4, 3))), "every binary layer must be binarized"),
        (lambda: quantize_rest(layer_of_two_outputs(), np.ones((2, 4, 4, 4))), "layers of several outputs cannot be quantized"),
    ],
)
def test_unusable_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_only_models_of_keras_2():
    with pytest.raises(TypeError, match="quantize_rest"):
        quantize_rest("model.keras", np.ones((2, 4, 4, 3)))
