"""ReActNet: structure, counts, widths, weights, errors."""

import keras
import numpy as np
import pytest
from larq_profile import Profile

from bitat_tf.applications import ReActNet
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.layers import RPReLU, binary_layers
from bitat_tf.regularizers import DisentangledRegularizer


@pytest.fixture(scope="module")
def reactnet_a():
    """Return the network of the paper; the tests only look at it."""
    return ReActNet()


def test_reactnet_a_is_the_mobilenet_of_the_paper(reactnet_a):
    model = reactnet_a
    layers = binary_layers(model)
    assert len(layers) == 26
    # Written out from ReActNet: 13 blocks, 3x3 c -> c and 1x1 c -> c or 2c, over a stem of 32.
    widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    shapes = []
    for before, after in zip(widths, widths[1:], strict=False):
        shapes += [(3, 3, before, before), (1, 1, before, after)]
    assert [tuple(layer.kernel.shape) for layer in layers] == shapes
    binary_parameters = sum(int(np.prod(shape)) for shape in shapes)
    assert Profile(model).weights[1] == binary_parameters
    assert model.output_shape == (None, 1000)
    assert model.get_layer("stem_conv").strides == (2, 2)
    assert model.get_layer("block_13_rprelu1x1").output.shape == (None, 7, 7, 1024)
    assert sum(isinstance(layer, RPReLU) for layer in model.layers) == 26


def test_macs_of_reactnet_a(reactnet_a):
    # ReActNet reports 4.82e9 binary operations (BOPs): counted here from the shapes of the architecture.
    sides = [112, 112, 56, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7]
    widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    macs = sum(
        side**2 * before * (9 * before + after) for side, before, after in zip(sides[1:], widths, widths[1:], strict=False)
    )
    assert macs == pytest.approx(4.82e9, rel=0.01)
    assert Profile(reactnet_a).macs[1] == macs


def test_small_pictures_keep_their_size_in_the_stem():
    model = ReActNet((32, 32, 3), 100, width=0.25)
    assert model.get_layer("stem_conv").output.shape == (None, 32, 32, 8)
    assert model.get_layer("pool").input.shape == (None, 2, 2, 256)


@pytest.mark.parametrize("width", [0.1, 0.25, 0.5, 1.0, 1.7])
def test_widths(width):
    model = ReActNet((8, 8, 1), 5, width=width, blocks=((64, 1), (128, 2), (128, 1)))
    stem = model.get_layer("stem_conv").filters
    assert stem % 8 == 0
    assert abs(stem - 32 * width) <= max(4, 8 - 32 * width)
    assert [layer.filters // stem for layer in binary_layers(model)] == [1, 2, 2, 4, 4, 4]


@pytest.mark.parametrize(("stride", "side"), [(None, 32), (1, 32), (2, 16)])
def test_the_stride_of_the_stem_can_be_chosen(stride, side):
    model = ReActNet((32, 32, 3), 5, width=0.25, blocks=((64, 1),), stem_stride=stride)
    assert model.get_layer("stem_conv").output.shape == (None, side, side, 8)


def test_preprocessing_is_part_of_the_network():
    with_it = ReActNet((8, 8, 1), 5, blocks=((32, 1),))
    without = ReActNet((8, 8, 1), 5, blocks=((32, 1),), include_preprocessing=False)
    without.set_weights(with_it.get_weights())
    x = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(with_it(x), without(x / 127.5 - 1), atol=1e-5)


def test_weights_from_a_file(tmp_path):
    model = ReActNet((8, 8, 1), 5, blocks=((64, 1),))
    binary_layers(model)[0].set_binary()
    model.save_weights(tmp_path / "w.weights.h5")
    copy = ReActNet((8, 8, 1), 5, weights=tmp_path / "w.weights.h5", blocks=((64, 1),))
    x = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(copy(x), model(x))
    with pytest.raises(ValueError, match="`weights` must be None or the path of a weights file. Received: 'imagenet'"):
        ReActNet((8, 8, 1), 5, weights="imagenet", blocks=((64, 1),))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "`width` must be a finite number > 0"),
        ({"classes": 1}, "`classes` must be a finite number >= 2"),
        ({"input_shape": (None, None, 3)}, "with known sizes"),
        ({"stem_stride": 3}, "`stem_stride` must be one of None, 1, 2"),
        ({"blocks": ()}, "at least one"),
        ({"blocks": ((96, 1),)}, "block 1 must have 32 or 64 filters.*Received: filters=96"),
        ({"blocks": ((64, 3),)}, "stride 1 or 2. Received: filters=64, stride=3"),
        ({"input_shape": (4, 4, 3), "blocks": ((64, 2),) * 1 + ((128, 2), (256, 2), (512, 2))}, "too small.*receives 1x1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ReActNet(**{"input_shape": (8, 8, 1), "classes": 10, **arguments})


def test_it_is_a_keras_model_that_trains():
    model = ReActNet((8, 8, 1), 3, width=0.25, blocks=((64, 1),))
    assert isinstance(model, keras.Model)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 1)), np.arange(16) % 3
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_every_layer_gets_a_copy_of_the_regularizer():
    given = DisentangledRegularizer(num_groups=16, cross_layer=True, residual=False)
    model = ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),), disentangled_regularizer=given)
    own = [layer.disentangled_regularizer for layer in binary_layers(model)]
    assert len({id(regularizer) for regularizer in [given, *own]}) == 3
    assert [regularizer.get_config() for regularizer in own] == [given.get_config()] * 2
    assert given.state is None
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype(np.float32)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    schedule = Schedule(0.5, 0, 0)
    bitat = SequentialBinarization(x, schedule, blocks="residual", verbose=0)
    model.fit(x, np.arange(16) % 4, batch_size=4, epochs=bitat.total_epochs(model), callbacks=[bitat], verbose=0)
    assert all(not np.allclose(r.state.sensitivity.numpy(), np.eye(r.state.units)) for r in own)
