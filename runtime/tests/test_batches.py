"""Several samples at once give what each gives alone, also where a file's operators would mix them.

Expected predictions are those of single samples. The files are TensorFlow's converter's, for one sample.
"""

import numpy as np
import pytest
import tensorflow as tf
from test_package import ENGINES

import bitat_runtime

CHANNELS = 3


def gate(x):
    return tf.sigmoid(3 * tf.reduce_mean(x, [1, 2]))  # (n, channels)


MIXING = {
    "a gate of unlike rank": lambda x: x * gate(x),
    "then a mean": lambda x: tf.reduce_mean(x * gate(x), [1, 2]),
    "a mean of the samples": lambda x: x - tf.reduce_mean(x, 0, keepdims=True),
    "a softmax over the samples": lambda x: tf.transpose(tf.nn.softmax(tf.transpose(x, [1, 2, 3, 0])), [3, 0, 1, 2]),
    "samples in another order": lambda x: tf.reverse(x, [0]) + 1.0,
    "samples as rows": lambda x: tf.reshape(tf.cumsum(tf.reshape(x, (-1, CHANNELS))), (-1, *x.shape[1:])),
    "one sample for all": lambda x: x + x[:1],
}
SEPARATE = {
    "a gate of equal rank": lambda x: x * gate(x)[:, None, None, :],
    "a mean": lambda x: tf.reduce_mean(x, [1, 2]),
    "rows": lambda x: tf.reshape(tf.matmul(tf.reshape(x, (-1, CHANNELS)), tf.ones((CHANNELS, 2))), (-1, *x.shape[1:3], 2)),
}


def file_of(function, width, count=1):
    signature = tf.TensorSpec((count, 5, width, CHANNELS), tf.float32)
    concrete = tf.function(function, autograph=False).get_concrete_function(signature)
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()


def samples_of(width, count):
    samples = np.random.default_rng(0).normal(size=(count, 5, width, CHANNELS)).astype(np.float32)
    samples[:4] = 0  # nothing is seen of mixed samples that are the same
    return samples


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("name", MIXING)
def test_samples_are_not_mixed(name, width, engine):
    content, samples = file_of(MIXING[name], width), samples_of(width, 10)
    expected = bitat_runtime.Interpreter(content, engine=engine).predict(samples)
    for size in (3, 4):
        found = bitat_runtime.Interpreter(content, engine=engine).predict(samples, batch_size=size)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", SEPARATE)
def test_files_that_mix_nothing_run_several_samples_at_once(name):
    content, samples = file_of(SEPARATE[name], 4, None), samples_of(4, 10)
    interpreter = bitat_runtime.Interpreter(content)
    np.testing.assert_allclose(interpreter.predict(samples, batch_size=4), interpreter.predict(samples), atol=1e-6)
    interpreter.predict(samples[:4], batch_size=4)
    assert interpreter._shapes == [(4, 5, 4, CHANNELS)]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int8, np.uint8])
def test_what_is_tried_differs_and_stays_in_range(kind):
    from bitat_runtime._resizing import unlike_samples

    (found,) = unlike_samples([np.full((1, 4, 3), 7, kind)], 5)
    assert (found.dtype, found.shape) == (kind, (5, 4, 3))
    assert len(np.unique(found.reshape(5, -1), axis=0)) == 5
    assert found.min() >= 0
    assert found.max() <= 7


def test_indices_are_taken_as_they_come():
    from bitat_runtime._resizing import unlike_samples

    (found,) = unlike_samples([np.array([[3, 900], [1, 5]], np.int32)], 3)
    assert found.tolist() == [[3, 900], [1, 5], [3, 900]]


def test_numbers_that_are_not_finite_are_left_out_of_the_range():
    from bitat_runtime._resizing import unlike_samples

    (found,) = unlike_samples([np.array([[np.nan, np.inf, -np.inf]], np.float32)], 4)
    assert np.isfinite(found).all()
