"""Padding "same" with strides larger than the kernel: what TensorFlow's interpreter computed wrongly, in all stock ones.

Expected values are Keras'.
"""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from engines import converted_by_lce
from file_against_keras import assert_close, counts, written
from small_networks import samples

from bitat_tf.export.lowering import convert, lower, lower_to_int8
from bitat_tf.export.lowering.same_padding import write_out_padding
from bitat_tf.tflite_file.content import parse, serialize

L = keras.layers
KERNELS = (1, 2, 3, (1, 3), (3, 2))
STRIDES = (1, 2, 3, 4, 5)


def interpreters():
    yield tf.lite.Interpreter
    if importlib.util.find_spec("ai_edge_litert") is not None:
        from ai_edge_litert.interpreter import Interpreter

        yield Interpreter


def outputs_in_stock(interpreter, content, inputs):
    running = interpreter(model_content=content, num_threads=1)
    running.resize_tensor_input(running.get_input_details()[0]["index"], inputs.shape)
    running.allocate_tensors()
    running.set_tensor(running.get_input_details()[0]["index"], inputs)
    running.invoke()
    return [running.get_tensor(one["index"]) for one in running.get_output_details()]


def network(size):
    picture = keras.Input((*size, 4))
    outputs = []
    for kernel in KERNELS:
        for stride in STRIDES:
            for kind in (L.Conv2D, L.DepthwiseConv2D):
                first = 3 if kind is L.Conv2D else kernel
                rest = (kernel,) if kind is L.Conv2D else ()
                outputs.append(kind(first, *rest, strides=stride, padding="same", bias_initializer="normal")(picture))
        outputs.append(L.Conv2D(3, kernel, strides=(2, 3), padding="same")(picture))
    rows = L.Reshape((size[0] * size[1], 4))(picture)
    outputs += [L.Conv1D(3, kernel, strides=4, padding="same")(rows) for kernel in (1, 2, 3)]
    return keras.Model(picture, outputs)


@pytest.mark.parametrize("size", [(9, 8), (12, 10)])
def test_stock_interpreters_compute_every_geometry(size):
    model = network(size)
    inputs = samples(model, 2)
    expected = [one.numpy() for one in model(inputs[0])]
    content = written(lower(model))
    for interpreter in interpreters():
        assert_close(outputs_in_stock(interpreter, content, inputs[0]), expected)


def one_convolution(**arguments):
    picture = keras.Input((9, 8, 4))
    return keras.Model(picture, L.Conv2D(3, padding="same", **arguments)(picture))


def test_pixels_are_added_only_where_one_axis_needs_them_and_the_other_is_cut():
    def operators(**arguments):
        return counts(written(lower(one_convolution(**arguments))))

    assert operators(kernel_size=(3, 2), strides=4) == {
        "PAD": 1,
        "CONV_2D": 1,
    }  # 2 of 9 rows missing, 2 of 8 columns too many
    assert operators(kernel_size=2, strides=4) == {"PAD": 1, "CONV_2D": 1}
    assert operators(kernel_size=2, strides=(3, 4)) == {"CONV_2D": 1}
    assert operators(kernel_size=3, strides=2) == {"CONV_2D": 1}


@pytest.mark.parametrize("strides", [(4, 4), (3, 4)])
def test_an_int8_rest(strides):
    model = one_convolution(kernel_size=(3, 2), strides=strides)
    (inputs,) = samples(model, 16)
    program, _ = lower_to_int8(model, [inputs])
    expected = model(inputs).numpy()
    for interpreter in interpreters():
        (found,) = outputs_in_stock(interpreter, serialize(convert(program)), inputs)
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_what_larq_compute_engines_converter_writes():
    model = one_convolution(kernel_size=(3, 2), strides=4)
    (inputs,) = samples(model, 2)
    objects = parse(converted_by_lce(model))
    write_out_padding(objects, objects.subgraphs[0])
    for interpreter in interpreters():
        assert_close(outputs_in_stock(interpreter, serialize(objects), inputs), [model(inputs).numpy()])
