"""The data of a verification: in each form that Keras takes, for models of several inputs, and of a fixed batch size."""

import keras
import numpy as np
import pytest

from bitat_tf.export.ends import input_names
from bitat_tf.export.request import check_known_sizes, model_inputs, output_labels, predict

L = keras.layers


def two_by_two(batch_size=None):
    """Return a model of two inputs, not in the order of the alphabet, and two outputs."""
    pictures, numbers = keras.Input((4, 4, 2), batch_size, name="pictures"), keras.Input((3,), batch_size, name="numbers")
    x = L.Concatenate()([L.Flatten()(pictures), numbers])
    return keras.Model([pictures, numbers], [L.Dense(5, name="z")(x), L.Dense(1, name="a")(x)])


def arrays(count=10):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 4, 4, 2)).astype(np.float32), generator.normal(size=(count, 3)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 7, 8, 10, 16])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_fixed_batch_size_is_filled_and_cut(count, batch_size):
    fixed, free = two_by_two(batch_size), two_by_two()
    free.set_weights(fixed.get_weights())
    found, expected = predict(fixed, arrays(count)), free.predict(list(arrays(count)), verbose=0)
    assert [array.shape for array in found] == [(count, 5), (count, 1)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_batch_is_not_seen_by_its_neighbours():
    """Only a model of batches of one size sees how they are filled; samples are not mixed up."""
    inputs = keras.Input((1,), batch_size=4)
    model = keras.Model(inputs, L.Rescaling(2.0)(inputs))
    np.testing.assert_array_equal(predict(model, [np.arange(6.0)[:, None]])[0][:, 0], 2 * np.arange(6.0))


def test_models_that_were_built_with_dicts():
    pictures, numbers = keras.Input((4, 4, 2), name="p"), keras.Input((3,), name="n")
    x = L.Concatenate()([L.Flatten()(pictures), numbers])
    model = keras.Model({"p": pictures, "n": numbers}, {"z": L.Dense(5)(x), "a": L.Dense(1)(x)})
    given = {"p": arrays()[0], "n": arrays()[1]}
    named = dict(zip(input_names(model), (given["n"], given["p"]), strict=True))
    inputs, _ = model_inputs("verify", model, named)
    found, expected = predict(model, inputs), model.predict(given, verbose=0)
    for one, other in zip(found, (expected["a"], expected["z"]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [tuple(tensor.shape[1:]) for tensor in model.outputs] == [(1,), (5,)]


@pytest.mark.parametrize("form", [list, tuple, lambda pair: dict(zip(("numbers", "pictures"), reversed(pair), strict=True))])
def test_several_inputs(form):
    inputs, is_random = model_inputs("verify", two_by_two(), form(arrays()))
    assert not is_random
    for one, other in zip(inputs, arrays(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_random_inputs_are_of_the_kind_of_each_input():
    words = keras.Input((6,), dtype="int32")
    numbers = keras.Input((3,))
    model = keras.Model([words, numbers], L.Concatenate()([L.Flatten()(L.Embedding(2, 4)(words)), numbers]))
    inputs, is_random = model_inputs("verify", model, None)
    assert is_random
    assert [(array.shape, array.dtype.name) for array in inputs] == [((16, 6), "int32"), ((16, 3), "float32")]
    assert set(np.unique(inputs[0])) == {0, 1}
    assert -1 <= inputs[1].min() < 0 < inputs[1].max() <= 1
    assert predict(model, inputs)[0].shape == (16, 27)


def test_one_input_as_it_is_or_in_a_list():
    model = keras.Sequential([keras.Input((3,), name="numbers"), L.Dense(2)])
    for data in (arrays()[1], [arrays()[1]], {"numbers": arrays()[1]}, arrays()[1].tolist()):
        np.testing.assert_array_equal(model_inputs("verify", model, data)[0][0], arrays()[1])


PICTURES, NUMBERS = arrays()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (PICTURES, r"`data` must be a list of 2 arrays, one for each input \(pictures, numbers\).*Received: one ndarray"),
        ([PICTURES], "Received: 1"),
        ({"pictures": PICTURES}, "must have the inputs' names, 'pictures', 'numbers'. Received: 'pictures'"),
        ([PICTURES, NUMBERS[:, :2]], r"`data` of input 'numbers' must have shape \(n >= 1, 3\). Received: \(10, 2\)"),
        ([PICTURES, NUMBERS[:9]], "as many samples for each input. Received: 10 of 'pictures', 9 of 'numbers'"),
        ([PICTURES[:0], NUMBERS[:0]], r"input 'pictures' must have shape \(n >= 1, 4, 4, 2\). Received: \(0, 4, 4, 2\)"),
        ([PICTURES * np.nan, NUMBERS], "`data` must be finite. Received: 320 NaN"),
    ],
)
def test_data_that_do_not_fit(data, message):
    with pytest.raises(ValueError, match=f"^verify: .*{message}"):
        model_inputs("verify", two_by_two(), data)


def test_labels_of_several_outputs():
    model, labels = two_by_two(), np.zeros(10, int)
    assert output_labels("verify", model, None, None) == [None, None]
    for given in ([labels, None], (labels, None), {"a": None, "z": labels}):
        found = output_labels("verify", model, arrays(), given)
        assert found[0] is not None
        assert found[1] is None
    with pytest.raises(ValueError, match="labels without data"):
        output_labels("verify", model, None, [labels, None])
    with pytest.raises(ValueError, match=r"`labels` must be a list of 2 arrays, one for each output \(z, a\)"):
        output_labels("verify", model, arrays(), labels)


def test_sizes_must_be_known():
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"size of the input must be known.*\(None, None, None, 3\)"):
        check_known_sizes("verify", keras.Model(inputs, L.Conv2D(2, 3)(inputs)))

    class OwnCall(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="must be functional or sequential. Received: a OwnCall, whose graph"):
        check_known_sizes("verify", OwnCall())
    check_known_sizes("verify", two_by_two(8))
