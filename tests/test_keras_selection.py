"""Which Keras is used, each case in a Python process of its own."""

import os
import subprocess
import sys

import pytest


def run(code, **environment):
    env = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**env, **environment}, check=False)


def test_as_the_first_import_it_just_works():
    result = run("import bitat_tf, tensorflow as tf, tf_keras; assert tf.keras.Model is tf_keras.Model; print('fine')")
    assert result.stdout.strip() == "fine", result.stderr


@pytest.mark.parametrize(
    "first",
    [
        "import tensorflow as tf\ntf.keras.Sequential",
        *(pytest.param(f"import {name}", marks=pytest.mark.slow) for name in ("tensorflow", "keras", "tf_keras")),
    ],
)
def test_after_tensorflow_with_keras_3_one_import_error_names_cause_and_cure(first):
    result = run(f"{first}\nimport bitat_tf")
    assert result.returncode == 1
    error = result.stderr[result.stderr.index("ImportError:") :]
    assert "is Keras 3: TensorFlow was loaded before bitat_tf without asking for Keras 2" in error
    assert 'import os\n    os.environ["TF_USE_LEGACY_KERAS"] = "1"' in error
    assert result.stderr.count("ImportError:") == 1
    assert "during handling" not in result.stderr.lower()


@pytest.mark.slow
def test_the_cure_works():
    code = 'import os\nos.environ["TF_USE_LEGACY_KERAS"] = "1"\nimport tensorflow as tf\ntf.keras.Sequential\nimport bitat_tf'
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_a_variable_set_to_keras_3_is_named():
    result = run("import bitat_tf", TF_USE_LEGACY_KERAS="0")
    assert "ImportError" in result.stderr
    assert "TF_USE_LEGACY_KERAS is '0'" in result.stderr


def test_a_keras_3_model_gets_an_error_that_says_so():
    code = """
import bitat_tf, keras, numpy as np
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
for call in (
    lambda: bitat_tf.export.to_tflite(model, 'x.tflite'),
    lambda: bitat_tf.export.to_plain_larq(model),
    lambda: bitat_tf.callbacks.SequentialBinarization(np.zeros((1, 2))).total_epochs(model),
):
    try:
        call()
    except TypeError as error:
        print(error)
"""
    result = run(code)
    assert result.stdout.count("received a Keras 3 model (keras.src.models.sequential.Sequential)") == 3, result.stderr
    assert result.stdout.count("build the model with `tf.keras` or `tf_keras`") == 3
