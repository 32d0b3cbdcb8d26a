"""The exported file against the Keras model, and what is refused before anything is written."""

import json

import keras
import numpy as np
import pytest
from engines import larq_compute_engine, run_everywhere
from file_against_keras import assert_close, written

from bitat_tf.applications import ReActNet
from bitat_tf.export import compare_outputs, to_plain_network, to_tflite, verify
from bitat_tf.export.ends import output_names
from bitat_tf.export.lowering import lower
from bitat_tf.export.padding import trimmed_paddings
from bitat_tf.export.plain import PlainLayer, count_binary_operators
from bitat_tf.layers import BinaryConv2D, BinaryDense, RPReLU, binary_layers
from bitat_tf.tflite_file import read_operators, run_tflite
from bitat_tf.tflite_file.engines import Engine


def randomize(model, seed=0):
    """Give every weight a random value (statistics of batch normalization included) and make the layers binary."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights(
                [generator.uniform(0.5, 1.5, size) * generator.choice([-1, 1], size)]
                + [generator.normal(size=size) for _ in range(2)]
                + [generator.uniform(0.5, 2, size)]
            )
        elif isinstance(layer, RPReLU):
            layer.set_weights([generator.normal(scale=0.3, size=weight.shape) for weight in layer.get_weights()])
    for layer in binary_layers(model):
        layer.input_quantizer.threshold.assign(generator.normal(scale=0.3, size=layer.input_quantizer.threshold.shape))
        if layer.use_bias:
            layer.bias.assign(generator.normal(size=layer.bias.shape))
        layer.set_binary()
    return model


def network(layers, size=(8, 8), channels=6):
    return keras.Sequential([keras.Input((*size, channels)), *layers])


def conv(filters, kernel, **arguments):
    return BinaryConv2D(filters, kernel, **arguments)


VARIANTS = {
    "3x3": [conv(8, 3, padding="same")],
    "3x3 stride 2": [conv(8, 3, strides=2, padding="same")],
    "3x3 valid": [conv(8, 3)],
    "1x1": [conv(8, 1)],
    "1x1 stride 2": [conv(8, 1, strides=2)],
    "dilated": [conv(8, 3, dilation_rate=2, padding="same")],
    "zero padding": [conv(8, 3, padding="same", pad_values=0.0)],
    "activation": [conv(8, 3, padding="same", activation="relu", use_bias=False)],
    "two with batch normalization": [
        conv(32, 3, padding="same", use_bias=False),
        keras.layers.BatchNormalization(),
        conv(16, 3, padding="same", use_bias=False),
        keras.layers.BatchNormalization(),
        RPReLU(),
    ],
    "dense": [keras.layers.Flatten(), BinaryDense(16), keras.layers.BatchNormalization(), BinaryDense(5)],
    "dense with activation": [keras.layers.GlobalAveragePooling2D(), BinaryDense(16, activation="relu", use_bias=False)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_the_file_gives_what_that_of_larq_compute_engines_converter_gives(name, tmp_path):
    larq_compute_engine()
    layers = [type(layer).from_config(layer.get_config()) for layer in VARIANTS[name]]
    model = randomize(network(layers, (7, 8)))
    x = np.random.default_rng(1).normal(size=(8, 7, 8, 6)).astype(np.float32)
    found = []
    for converter in ("direct", "larq-compute-engine"):
        to_tflite(model, tmp_path / f"{converter}.tflite", x, converter=converter)
        found.append(run_tflite((tmp_path / f"{converter}.tflite").read_bytes(), x))
    different = np.abs(found[0] - found[1]).reshape(8, -1).max(axis=1) > 1e-4 * np.abs(found[1]).max()
    assert different.sum() <= (1 if len(binary_layers(model)) > 1 else 0)  # a value on a threshold


@pytest.mark.parametrize("size", [(7, 9), *(pytest.param(size, marks=pytest.mark.slow) for size in ((8, 8), (5, 5)))])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_file_does_what_the_model_does(name, size, tmp_path):
    layers = [type(layer).from_config(layer.get_config()) for layer in VARIANTS[name]]
    model = randomize(network(layers, size))
    x = np.random.default_rng(1).normal(size=(8, *size, 6)).astype(np.float32)
    report = to_tflite(model, tmp_path / "model.tflite", x)
    binary = len(binary_layers(model))
    assert (report.expected_binary, report.fused_binary) == (binary, binary)
    found = run_tflite((tmp_path / "model.tflite").read_bytes(), x)
    expected = model.predict(x, verbose=0)
    # Sums of at most a few hundred +-1 are exact; scales and batch normalization round. With a value on a threshold a bit
    # may fall on the other side: one such sample is allowed where layers follow each other.
    scale = np.abs(expected).max()
    different = np.abs(found - expected).reshape(8, -1).max(axis=1) > 1e-4 * scale
    assert different.sum() <= (1 if binary > 1 else 0)
    assert report.outputs == (compare_outputs(expected, found, report.outputs[0].measure, name=output_names(model)[0]),)


def test_reactnet_is_fused_and_much_smaller(tmp_path):
    model = randomize(ReActNet((32, 32, 3), 10, blocks=((64, 1), (128, 2), (128, 1))))
    x = np.random.default_rng(0).uniform(0, 255, (20, 32, 32, 3)).astype(np.float32)
    y = model.predict(x, verbose=0).argmax(axis=1)
    report = to_tflite(model, tmp_path / "model.tflite", x, y)
    assert report.fused_binary == report.expected_binary == report.operators["LceBconv2d"] == 6
    assert report.operators["CONV_2D"] == 1  # the stem
    assert report.keras_accuracy == 1.0
    assert report.accuracy == report.outputs[0].agreement >= 0.95
    assert report.size == (tmp_path / "model.tflite").stat().st_size
    assert report.size < report.float_size / 8
    assert json.loads(json.dumps(report.to_dict()))["operators"] == report.operators
    assert "6 of 6 LceBconv2d" in str(report)
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_plain_network_has_the_same_outputs_and_no_binary_layers(make_network, images):
    x, _ = images
    model = make_network()
    for layer in binary_layers(model):
        layer.set_binary()
    plain = to_plain_network(model)
    np.testing.assert_allclose(plain.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    assert not binary_layers(plain)
    assert [type(plain.get_layer(f"binary_{number}")) for number in (1, 2, 3)] == [PlainLayer] * 3
    assert not any("is_binary" in weight.path for weight in plain.weights)
    assert plain.losses == []


def test_partly_binary_models(make_network, images, tmp_path):
    x, _ = images
    model = make_network()
    model.get_layer("binary_1").set_binary()
    model.get_layer("binary_2").set_binary(input=False, kernel=True)
    with pytest.raises(ValueError, match=r"2 of 3 that are not: binary_2 \(mixed\), binary_3 \(float\).*allow_partial=True"):
        to_tflite(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())
    report = to_tflite(model, tmp_path / "model.tflite", x, allow_partial=True)
    assert report.fused_binary == 1
    assert report.float_layers == ("binary_2", "binary_3")
    assert "still float     binary_2, binary_3" in str(report)
    assert report.outputs[0].largest_difference < 1e-3


@pytest.mark.slow
def test_larq_compute_engines_converter_gives_the_same(tmp_path):
    larq_compute_engine()
    model = randomize(network([conv(32, 3, padding="same", use_bias=False), keras.layers.BatchNormalization(), conv(8, 3)]))
    x = np.random.default_rng(0).normal(size=(20, 8, 8, 6)).astype(np.float32)
    found = []
    for converter in ("direct", "larq-compute-engine"):
        report = to_tflite(model, tmp_path / "model.tflite", x, converter=converter)
        assert report.fused_binary == report.expected_binary == 2
        found.append(run_tflite((tmp_path / "model.tflite").read_bytes(), x))
    different = np.abs(found[0] - found[1]).reshape(20, -1).max(axis=1) > 1e-4 * np.abs(found[1]).max()
    assert different.sum() <= 1  # a value on a threshold
    with pytest.raises(ValueError, match="an int8 rest is written by converter='direct' only"):
        to_tflite(model, tmp_path / "model.tflite", x, converter="larq-compute-engine", calibration=x)


def called_twice_on_the_same():
    """Four layers, each called twice; but for the last one the two calls give the same at inference."""
    inputs = keras.Input((6, 6, 32))
    outputs = []
    for again in (keras.layers.Dropout(0.5), keras.layers.Activation("linear"), keras.layers.Rescaling(2.0)):
        layer = conv(8, 3, padding="same")
        outputs += [layer(inputs), layer(again(inputs))]
    nested = keras.Sequential([conv(8, 1), keras.layers.BatchNormalization()])
    outputs += [nested(keras.layers.ReLU()(inputs)), nested(keras.layers.ReLU()(inputs)), nested(2.0 * inputs)]
    return randomize(keras.Model(inputs, keras.layers.Add()(outputs)))


@pytest.mark.parametrize(("converter", "operators"), [("direct", 9), ("larq-compute-engine", 6)])
def test_a_layer_called_twice_on_what_is_the_same_at_inference(converter, operators, tmp_path):
    """TensorFlow computes what is the same once, the direct export as often as it is called."""
    larq_compute_engine()
    model = called_twice_on_the_same()
    x = np.random.default_rng(0).normal(size=(20, 6, 6, 32)).astype(np.float32)
    report = to_tflite(model, tmp_path / "model.tflite", x, converter=converter)
    assert (report.fused_binary, report.expected_binary) == (operators, operators)
    assert verify(model, tmp_path / "model.tflite", x).verdict == "same"


def test_a_layer_that_larqs_converter_leaves_float_is_an_error(tmp_path):
    larq_compute_engine()
    # Groups of 16 channels: it needs a multiple of 32 in each.
    model = randomize(network([conv(8, 3), conv(8, 3, groups=2)], channels=8))
    with pytest.raises(ValueError, match=r"2 binary layers must become LceBconv2d operators. Received: 1 of them"):
        to_tflite(model, tmp_path / "model.tflite", converter="larq-compute-engine")
    with pytest.raises(ValueError, match=r"multiple of 32 channels. Received: 4 in each of 2 groups of layer"):
        to_tflite(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_several_inputs_and_outputs_and_a_fixed_batch(tmp_path):
    first, second = (keras.Input((6, 6, 32), batch_size=8, name=name) for name in ("first", "second"))
    x = keras.layers.Add()([conv(32, 3, padding="same")(first), second])
    outputs = [
        keras.layers.Dense(3, name="classes")(keras.layers.GlobalAveragePooling2D()(conv(8, 1)(x))),
        keras.layers.GlobalMaxPooling2D(name="maxima")(x),
    ]
    model = randomize(keras.Model([first, second], outputs))
    generator = np.random.default_rng(0)
    data = {name: generator.normal(size=(10, 6, 6, 32)).astype(np.float32) for name in ("second", "first")}
    report = to_tflite(model, tmp_path / "model.tflite", data)
    assert [output.name for output in report.outputs] == ["classes", "maxima"]
    assert report.fused_binary == 2
    found = run_tflite((tmp_path / "model.tflite").read_bytes(), data)
    padded = [np.concatenate([data[name], data[name][:6]]) for name in ("first", "second")]
    for ours, theirs in zip(found, model.predict(padded, batch_size=8, verbose=0), strict=True):
        np.testing.assert_allclose(ours, theirs[:10], atol=1e-4)


def test_float_kernels_are_not_taken_for_binary_ones(tmp_path):
    model = randomize(
        network([keras.layers.Conv2D(4, 3, padding="same"), conv(8, 3), keras.layers.Flatten(), keras.layers.Dense(3)])
    )
    to_tflite(model, tmp_path / "model.tflite")
    operators = read_operators((tmp_path / "model.tflite").read_bytes())
    assert not any(operator.binary_kernel for operator in operators)
    assert [operator.name for operator in operators if operator.name in ("CONV_2D", "LceBconv2d", "FULLY_CONNECTED")] == [
        "CONV_2D",
        "LceBconv2d",
        "FULLY_CONNECTED",
    ]


def test_nested_and_shared_layers(tmp_path):
    inputs = keras.Input((8, 8, 6))
    inner_inputs = keras.Input((8, 8, 6))
    inner = keras.Model(inner_inputs, keras.layers.BatchNormalization()(conv(6, 3, padding="same")(inner_inputs)), name="inner")
    shared = conv(6, 3, padding="same", name="shared")
    x = shared(shared(inner(inputs)))
    model = randomize(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x)))
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 6)).astype(np.float32)
    report = to_tflite(model, tmp_path / "model.tflite", x)
    assert report.fused_binary == report.expected_binary == 3  # the shared layer computes two convolutions
    np.testing.assert_allclose(to_plain_network(model)(x), model(x), atol=1e-5)


def test_constants_computed_from_weights_and_python_functions_reach_the_file(tmp_path):
    x = np.random.default_rng(0).normal(5, 3, size=(16, 8, 8, 6)).astype(np.float32)
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    model = randomize(network([normalization, keras.layers.Lambda(lambda pixels: pixels * 2), conv(8, 3)]))
    np.testing.assert_allclose(to_plain_network(model)(x), model(x), atol=1e-5)
    assert to_tflite(model, tmp_path / "model.tflite", x).outputs[0].share_different <= 1 / 16


# Size, kernel, strides, padding: those whose last rows are not read, which larq-compute-engine's converter takes for padding
# "same", and others.
PADDED = [
    (8, 3, 2, 1),
    (9, 3, 2, 1),
    (16, 7, 2, 3),
    (8, 3, 3, 1),
    (8, 5, 3, 2),
    (8, 3, 1, 1),
    (7, 5, 3, 3),
    (8, 3, 2, ((0, 1), (0, 1))),
]


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D"])
def test_padding_before_a_convolution_with_strides_stays_where_it_is(kind):
    pictures, outputs = [], []
    for number, (size, kernel, strides, padding) in enumerate(PADDED):
        pictures.append(keras.Input((size, size, 6), name=f"picture_{number}"))
        arguments = (8, kernel) if kind == "Conv2D" else (kernel,)
        x = keras.layers.ZeroPadding2D(padding)(pictures[-1])
        x = getattr(keras.layers, kind)(*arguments, strides=strides)(x)
        outputs += [x, conv(8, 1)(x)]
    model = randomize(keras.Model(pictures, outputs))
    generator = np.random.default_rng(0)
    inputs = [generator.normal(size=(8, *picture.shape[1:])).astype(np.float32) for picture in pictures]
    expected = [np.asarray(one) for one in model(inputs)]
    for ours, theirs in zip(to_plain_network(model)(inputs), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    for engine, found in run_everywhere(written(lower(model)), inputs):
        assert_close(found[::2], expected[::2], 1e-4)
        for ours, theirs in zip(found[1::2], expected[1::2], strict=True):
            different = np.abs(ours - theirs).max(axis=-1) > 1e-3
            assert different.mean() < 0.05, engine  # values on a threshold


def test_a_shared_padding_is_cut_only_where_all_agree():
    inputs = keras.Input((8, 8, 6))
    pad, small, large = keras.layers.ZeroPadding2D(1), conv(8, 3, strides=2), conv(8, 3)
    x = keras.layers.Concatenate()([keras.layers.Flatten()(layer(pad(inputs))) for layer in (small, large)])
    model = keras.Model(inputs, x)
    assert trimmed_paddings(model) == {}
    alone = network([keras.layers.ZeroPadding2D(1, name="pad"), keras.layers.Conv2D(8, 3, strides=2)])
    assert trimmed_paddings(alone) == {id(alone.get_layer("pad")): ((1, 0), (1, 0))}


def test_a_file_that_does_not_do_what_the_model_does_is_not_written(tmp_path, monkeypatch):
    model, x = small_model(), np.random.default_rng(0).normal(size=(20, 8, 8, 6)).astype(np.float32)
    run = Engine.run
    monkeypatch.setattr(Engine, "run", lambda *arguments: [-output for output in run(*arguments)])
    with pytest.raises(
        ValueError, match=r"at most 0\.1 of their spread on 90\.0% of the samples. Received: .*No file was written"
    ):
        to_tflite(model, tmp_path / "model.tflite", x)
    assert not list(tmp_path.iterdir())
    report = to_tflite(model, tmp_path / "model.tflite", x, minimum_agreement=0.0)
    assert (report.outputs[0].agreement < 0.9, report.verdict) == (True, "no verdict")
    assert "No verdict: " in str(report)


def test_a_model_that_has_diverged_is_not_written(tmp_path):
    model = small_model()
    model.layers[0].bias.assign(np.full(8, np.nan))
    with pytest.raises(ValueError, match="the outputs of the Keras model must be finite. Received: 128 NaN"):
        to_tflite(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def small_model():
    return randomize(network([conv(8, 3), keras.layers.GlobalAveragePooling2D()]))


PICTURES = np.zeros((2, 8, 8, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": np.zeros((0, 8, 8, 6))}, r"`data` must have shape \(n >= 1, 8, 8, 6\). Received: \(0, 8, 8, 6\)"),
        ({"data": np.zeros((2, 8, 8, 3))}, r"Received: \(2, 8, 8, 3\)"),
        ({"data": np.full((2, 8, 8, 6), np.nan)}, "`data` must be finite. Received: 768 NaN"),
        (
            {"data": np.zeros((2, 8, 8, 6)), "labels": np.array([0])},
            r"class indices of shape \(2,\) or \(2, 1\).* Received: shape \(1,\)",
        ),
        ({"data": np.zeros((2, 8, 8, 6)), "labels": np.array([0, 8])}, r"labels must lie in 0\.\.7 .*label 8 at index 1"),
        ({"data": np.zeros((2, 8, 8, 6)), "labels": np.array([0.0, 0.5])}, "labels must be integers.*float64"),
        ({"labels": np.array([0])}, "labels without data"),
        ({"path": "model.lite"}, r"must end with \.tflite. Received: 'model\.lite'"),
        ({"converter": "larq"}, "`converter` must be one of 'direct', 'larq-compute-engine'. Received: converter='larq'"),
        ({"data": PICTURES, "engine": "tflite"}, "`engine` must be one of 'bitat-runtime', 'larq-compute-engine'"),
    ],
)
def test_unusable_arguments(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_tflite(small_model(), **{"path": tmp_path / "model.tflite", **arguments})
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_exported(tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match="has no binary layers.*TFLiteConverter"):
        to_tflite(network([keras.layers.Flatten(), keras.layers.Dense(3)]), path)
    unknown = keras.Sequential([keras.Input((None, None, 3)), conv(8, 3)])
    with pytest.raises(ValueError, match=r"size of the input must be known.*\(None, None, None, 3\)"):
        to_tflite(unknown, path)


def test_a_full_disk_leaves_nothing_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"could not write .*model\.tflite: No space left on device.*free some space"):
        to_tflite(small_model(), path, verify=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.tflite"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a file of tflite at all"])
def test_foreign_files_are_an_error(content):
    with pytest.raises(ValueError, match="expected the content of a .tflite file"):
        read_operators(content)


def test_float_activation_stays_with_layers_that_stay_float(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            conv(8, 3, float_activation="hard_tanh", name="binary_conv"),
            conv(8, 3, float_activation="hard_tanh", name="float_conv"),
            keras.layers.Flatten(),
            BinaryDense(4, float_activation="tanh", name="float_dense"),
        ]
    )
    binary_layers(model)[0].set_binary()
    x = np.random.default_rng(0).normal(scale=2, size=(20, 8, 8, 3)).astype(np.float32)
    plain = to_plain_network(model, allow_partial=True)
    np.testing.assert_allclose(plain(x), model(x), atol=1e-4)
    assert count_binary_operators(plain) == 1
    report = to_tflite(model, tmp_path / "model.tflite", x, allow_partial=True)
    assert (report.fused_binary, report.expected_binary) == (1, 1)
    assert report.float_layers == ("float_conv", "float_dense")
    assert report.outputs[0].largest_difference < 1e-3
