"""int8 for what is not binary: files against the lowered steps with grids, and single operators against their formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from engines import needs_runtime, run_everywhere

import bitat_tf
from bitat_tf.export import to_tflite
from bitat_tf.export.lowering import TensorFlowOperators, convert, expand_model, fold, lower_to_int8, run
from bitat_tf.export.lowering.grids import measure
from bitat_tf.layers import BinaryConv2D, RPReLU, binary_layers
from bitat_tf.tflite_file import inspect, run_tflite
from bitat_tf.tflite_file.content import constant, serialize
from bitat_tf.tflite_file.inputs import on_grid
from bitat_tf.tflite_file.schema import schema

L = keras.layers
SHAPE = (12, 12, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (48, *SHAPE)).astype(np.float32)


def binary(filters=32, kernel=3, **arguments):
    return BinaryConv2D(filters, kernel, padding="same", use_bias=False, **arguments)


def normalized(x, **arguments):
    return L.BatchNormalization()(binary(x.shape[-1], **arguments)(x))


def trained_by_chance(network, seed=0):
    generator = np.random.default_rng(seed)
    for weight in network.weights:
        name = weight.name
        if name == "gamma":
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif name == "moving_variance":
            weight.assign(generator.uniform(5, 20, weight.shape))
        elif name in ("beta", "moving_mean", "shift_before", "shift_after"):
            weight.assign(generator.normal(0, 0.3, weight.shape))
    for layer in binary_layers(network):
        layer.set_binary()
    return network


def network(block, scaling=True):
    """Return a network for pixels 0..255 with a block between its float ends."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE, name="picture")
    x = L.Rescaling(1 / 127.5, -1.0)(inputs) if scaling else inputs
    x = block(L.BatchNormalization()(L.Conv2D(32, 3, padding="same")(x)))
    return trained_by_chance(keras.Model(inputs, L.Dense(5, "softmax")(L.GlobalAveragePooling2D()(x)), name="net"))


def squeeze(x):
    gate = L.Conv2D(32, 1, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(normalized(x)))
    return L.Multiply()([x, gate])


def sum_with_normalization(x):
    y = L.Add()([x, normalized(x)])
    return L.Add()([y, normalized(L.BatchNormalization()(y))])


def attention(x):
    rows = L.Reshape((144, 32))(normalized(x))
    return L.Reshape((12, 12, 32))(L.MultiHeadAttention(2, 8)(rows, rows))


def shared_rprelu(x):
    shared = RPReLU()
    return shared(normalized(shared(x)))


BLOCKS = {
    "residual": lambda x: RPReLU()(L.Add()([x, normalized(x)])),
    "chain": lambda x: normalized(L.ReLU()(normalized(x))),
    "concatenation": lambda x: L.Concatenate()([x, normalized(x)]),
    "joint grid of a relu": lambda x: L.Concatenate()([L.ReLU()(normalized(x)), normalized(x)]),
    "joint grid of a relu6": lambda x: L.Concatenate()([L.ReLU(6.0)(normalized(x)), 9 * normalized(x)]),
    "relu6": lambda x: L.ReLU(6.0)(normalized(x)),
    "pooling": lambda x: normalized(L.AveragePooling2D(2)(L.MaxPooling2D()(normalized(x)))),
    "squeeze": squeeze,
    "depthwise": lambda x: L.DepthwiseConv2D(3, padding="same")(RPReLU()(normalized(x))),
    "normalization of a sum": sum_with_normalization,
    "called twice": shared_rprelu,
    "slices": lambda x: L.Concatenate()([normalized(x[..., :16]), x[..., 16:]]),
    "upsampling": lambda x: normalized(L.UpSampling2D(2, interpolation="bilinear")(normalized(x))),
    "resizing": lambda x: normalized(L.Resizing(8, 8)(normalized(x))),
    "maximum": lambda x: L.Maximum()([x, normalized(x)]),
    "minimum": lambda x: L.Minimum()([x, normalized(x)]),
    "reduce_max": lambda x: x + keras.ops.max(normalized(x), axis=(1, 2), keepdims=True),
    "swish": lambda x: normalized(L.Activation("swish")(normalized(x))),
    "prelu": lambda x: L.PReLU(shared_axes=[1, 2])(normalized(x)),
    "zero padding": lambda x: L.Add()([x, normalized(x, pad_values=0.0)]),
    "slices in Python": lambda x: L.Lambda(lambda y: y[..., 8:24])(normalized(x)) + 1.0,
    "choice of two": lambda x: keras.ops.where(normalized(x) > 0.0, x, 0.5 * x),
    "rows of two": lambda x: normalized(L.Concatenate(axis=1)([x, normalized(x)])),
    "stack": lambda x: keras.ops.mean(keras.ops.stack([x, normalized(x)], axis=1), axis=1),
    "gathered channels": lambda x: keras.ops.take(normalized(x), [0, 3, 30], axis=-1),
    "doubled in Python": lambda x: L.Lambda(lambda y: tf.concat([y, 2 * y], axis=-1))(normalized(x)),
    "transposed": lambda x: L.Conv2DTranspose(16, 3, 2, padding="same")(normalized(x)),
    "separable": lambda x: normalized(L.SeparableConv2D(32, 3, padding="same")(normalized(x))),
    "layer normalization": lambda x: normalized(L.LayerNormalization()(normalized(x))),
    "attention": attention,
    "division": lambda x: normalized(x / (1.0 + keras.ops.abs(normalized(x)))),
}
FAST = ("residual", "chain", "concatenation", "joint grid of a relu", "slices in Python", "zero padding")


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in BLOCKS])
def test_files_do_what_the_steps_with_grids_do(name):
    """To a few steps of 1/256 of the softmax; no conversion stands beside an operator on signs.

    But after zeros around the picture: larq-compute-engine then gives floats only.
    """
    model = network(BLOCKS[name])
    program, taken = lower_to_int8(model, [PIXELS], "int8")
    objects = convert(program, "int8")
    content = serialize(objects)
    rounded = run(program, [tf.constant(PIXELS - taken.offset)], TensorFlowOperators())[id(program.outputs[0])].numpy()
    for engine, (found,) in run_everywhere(content, [(PIXELS - 128).astype(np.int8)], program):
        assert np.abs(found - rounded).mean() < 2 / 256, engine
        assert np.abs(found - rounded).max() < 0.25, engine  # values on thresholds among them
    expected = model.predict(PIXELS, verbose=0)
    assert np.abs(rounded - expected).mean() < 0.05
    assert pairs_of_conversions(objects) == ([AFTER_ZEROS] if name == "zero padding" else [])


@needs_runtime
def test_tensorflows_interpreter_divides():
    """Its int8 division refused a divisor whose integer is 0: half of the range, mostly."""
    import bitat_runtime

    model = network(BLOCKS["division"])
    program, _ = lower_to_int8(model, [PIXELS])
    rounded = run(program, [tf.constant(PIXELS)], TensorFlowOperators())[id(program.outputs[0])].numpy()
    found = bitat_runtime.Interpreter(serialize(convert(program)), engine="tensorflow").predict(PIXELS)
    assert np.abs(found - rounded).mean() < 2 / 256


def test_what_only_an_int8_rest_has_no_form_for_is_named():
    model = network(lambda x: x + keras.ops.median(normalized(x), axis=-1, keepdims=True))
    program, _ = lower_to_int8(model, [PIXELS])
    with pytest.raises(ValueError, match=r"these layers have no form on the device: 'median\w*' \(Median\)"):
        convert(program)


AFTER_ZEROS = ("LceBconv2d", schema.BuiltinOperator.QUANTIZE)


def pairs_of_conversions(model):
    """Return the conversions that stand beside an operator on signs: a float tensor where an int8 one would do."""
    graph = model.subgraphs[0]
    codes = [model.operatorCodes[operator.opcodeIndex] for operator in graph.operators]
    names = [(code.customCode or b"").decode() or code.builtinCode for code in codes]
    writers = {int(number): name for operator, name in zip(graph.operators, names, strict=True) for number in operator.outputs}
    found = []
    for operator, name in zip(graph.operators, names, strict=True):
        before = writers.get(int(operator.inputs[0]))
        if (name, before) == ("LceQuantize", schema.BuiltinOperator.DEQUANTIZE):
            found.append((before, name))
        if (name, before) == (schema.BuiltinOperator.QUANTIZE, "LceBconv2d"):
            found.append((before, name))
    return found


@pytest.mark.parametrize("relu", [False, True])
def test_single_operators_are_their_formulas_bit_by_bit(relu):
    """LceQuantize: x < zero point. LceBconv2d: round(multiplier c / scale + bias / scale + zero point), halves away from 0."""

    def block(x):
        x = L.Conv2D(32, 1, name="stem")(x)
        x = L.BatchNormalization()(BinaryConv2D(8, 1, use_bias=False, input_quantizer="ste_sign", name="binary")(x))
        return L.ReLU()(x) if relu else x

    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3))
    model = trained_by_chance(keras.Model(inputs, L.PReLU(shared_axes=[1, 2])(block(inputs))))
    x = np.random.default_rng(0).normal(size=(16, 4, 4, 3)).astype(np.float32)
    program, _ = lower_to_int8(model, [x], "float32")
    objects = convert(program)
    graph = objects.subgraphs[0]
    names = [(objects.operatorCodes[one.opcodeIndex].customCode or b"").decode() for one in graph.operators]
    quantize, convolution = (graph.operators[names.index(name)] for name in ("LceQuantize", "LceBconv2d"))
    integers, output = int(quantize.inputs[0]), int(convolution.outputs[0])
    assert [graph.tensors[number].type for number in (integers, output)] == [schema.TensorType.INT8] * 2
    multiplier, bias = (constant(objects, graph.tensors[number]).astype(float) for number in convolution.inputs[2:4])
    scale, zero = float(graph.tensors[output].quantization.scale[0]), int(graph.tensors[output].quantization.zeroPoint[0])
    threshold = int(graph.tensors[integers].quantization.zeroPoint[0])
    kernel = np.where(model.get_layer("binary").latent_kernel[0, 0] >= 0, 1, -1)
    graph.outputs = np.array([integers, output], np.int32)
    objects.signatureDefs = None
    for engine, (stored, found) in run_everywhere(serialize(objects), [x], program):
        sums = np.where(stored.astype(int) < threshold, -1, 1) @ kernel
        exact = multiplier * sums / scale + bias / scale + zero
        expected = np.clip(np.floor(np.abs(exact) + 0.5) * np.sign(exact), -128, 127)
        clear = np.abs(np.abs(exact - np.floor(exact)) - 0.5) > 1e-4  # float32 rounds what lies in the middle
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(found[clear], expected[clear], err_msg=engine)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function: type of the input -> path of a ReActNet's file, and the report."""
    done, folder = {}, tmp_path_factory.mktemp("int8")
    keras.utils.set_random_seed(0)
    model = trained_by_chance(bitat_tf.applications.ReActNet(SHAPE, 5, width=0.5, blocks=((64, 1), (128, 2))))

    def get(kind):
        if kind not in done:
            path = folder / f"{kind}.tflite"
            report = to_tflite(model, path, calibration=PIXELS, input_type=kind, verify=False)
            done[kind] = path, report
        return done[kind]

    return get


@pytest.mark.slow
def test_all_types_of_input_give_the_same_outputs(exported):
    outputs = [run_tflite(exported(kind)[0].read_bytes(), PIXELS) for kind in ("float32", "int8", "uint8")]
    assert np.array_equal(outputs[1], outputs[2])
    assert np.array_equal(outputs[0], outputs[1])  # float32 becomes the same bytes inside of the file
    assert [exported(kind)[1].input_type for kind in ("float32", "int8", "uint8")] == ["float32", "int8", "uint8"]


def test_the_file_is_int8_but_for_its_end(exported):
    path, report = exported("uint8")
    found = inspect(path)
    types = [(operator.name, {tensor.type for tensor in operator.outputs}) for operator in found.operators]
    assert report.fused_binary == report.expected_binary == 4
    assert all(kinds <= {"int8", "bits", "int32"} for _, kinds in types[:-1]), types
    assert types[-1] == ("DEQUANTIZE", {"float32"})
    assert (found.facts["int8"], found.facts["pixels"]) == (True, "bytes")
    assert found.inputs[0].type == "uint8"


@pytest.mark.parametrize(("kind", "offset"), [("uint8", 0), ("int8", 128)])
def test_bytes_of_a_picture_go_in_as_they_are(kind, offset, exported):
    content = exported(kind)[0].read_bytes()
    for engine, (found,) in run_everywhere(content, [(PIXELS - offset).astype(kind)]):
        assert np.array_equal(found, run_tflite(content, PIXELS, engine))


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_other_inputs_have_a_scale_and_a_zero_point(kind, tmp_path):
    model = network(BLOCKS["residual"], scaling=False)
    x = (PIXELS / 255 - 0.25).astype(np.float32)
    to_tflite(model, tmp_path / "model.tflite", x, calibration=x, input_type=kind, minimum_agreement=0.5)
    found = inspect(tmp_path / "model.tflite")
    assert found.facts["pixels"] is None
    assert found.inputs[0].type == kind


def test_per_channel_scaling_of_pixels_is_kept():
    def scaled(x):
        return normalized(L.Conv2D(32, 3)(x))

    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = L.Rescaling([1 / 58.4, 1 / 57.1, 1 / 57.4], [-2.1, -2.0, -1.8])(inputs)
    model = trained_by_chance(keras.Model(inputs, L.Dense(5)(L.GlobalAveragePooling2D()(scaled(x)))))
    program, taken = lower_to_int8(model, [PIXELS], "uint8")
    content = serialize(convert(program, "uint8"))
    assert (taken.takes_bytes, taken.offset) == (True, 0.0)
    expected = model.predict(PIXELS, verbose=0)
    for _, (found,) in run_everywhere(content, [PIXELS.astype(np.uint8)]):
        assert np.abs(found - expected).mean() < 0.1 * np.ptp(expected)


def test_values_on_the_grid_of_a_file():
    x = np.array([[-1.0, 0.0, 0.26, 300.0]])
    assert on_grid(x, np.dtype("float32"), None, None, False).tolist() == x.astype(np.float32).tolist()
    assert on_grid(x, np.dtype("int8"), 0.1, -10, False).tolist() == [[-20, -10, -7, 127]]
    assert on_grid(x, np.dtype("uint8"), 0.1, 5, False).tolist() == [[0, 5, 8, 255]]
    assert on_grid(x, np.dtype("uint8"), 0.1, 5, True).tolist() == [[0, 0, 0, 255]]
    assert on_grid(x, np.dtype("int8"), 0.1, 5, True).tolist() == [[-128, -128, -128, 127]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"calibration": PIXELS, "input_type": "int16"}, "`input_type`.*Received: 'int16'|input_type.*int16"),
        ({"input_type": "uint8"}, "Received: no calibration. Pass some hundred training inputs"),
        ({"calibration": PIXELS[..., :1]}, r"`calibration` must have shape .*Received: \(48, 12, 12, 1\)"),
        ({"calibration": PIXELS[:0]}, r"Received: \(0, 12, 12, 3\)"),
        ({"calibration": np.full((2, *SHAPE), np.nan)}, "`calibration` must be finite"),
    ],
)
def test_unusable_calibration(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_tflite(network(BLOCKS["residual"]), tmp_path / "model.tflite", **arguments)
    assert not list(tmp_path.iterdir())


def test_signs_beyond_the_calibrated_range_stay_what_they_are():
    """Folding for int8 changes no sign of a chain of binary layers, on whatever inputs."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((24,))
    x = L.Dense(32)(x)
    for number in range(3):
        x = L.ReLU()(L.BatchNormalization()(bitat_tf.layers.BinaryDense(32, use_bias=False, name=f"binary_{number}")(x)))
    model = trained_by_chance(keras.Model(inputs, L.Dense(4)(x)))
    generator = np.random.default_rng(0)
    for layer in binary_layers(model):
        layer.input_quantizer.threshold.assign(generator.normal(0, 0.3, layer.input_quantizer.threshold.shape))
    program = expand_model(model)
    seen = generator.normal(size=(100, 24)).astype(np.float32)
    fold(program, lambda current: measure(current, [seen]))
    others = generator.normal(size=(2000, 24)).astype(np.float32)
    found = run(program, [tf.constant(others)], TensorFlowOperators())[id(program.outputs[0])].numpy()
    different = np.abs(found - model.predict(others, verbose=0)).max(axis=1) > 1e-4
    assert different.mean() < 0.005  # values on a threshold
