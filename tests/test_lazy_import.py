"""What `import bitat_tf` loads, and that Keras loads models with the package's layers nevertheless: in new processes."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from written_files import small_file

import bitat_tf
from bitat_tf._saved_models import CLASSES
from bitat_tf.cli import build_parser

PACKAGE = Path(bitat_tf.__file__).parent


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_large_is_loaded_before_it_is_used():
    large = ("tensorflow", "tf_keras", "keras", "larq", "numpy", "matplotlib", "scipy", "sklearn")
    code = f"import sys, bitat_tf; print([name for name in {large} if name in sys.modules], bitat_tf.__version__)"
    assert run(code) == f"[] {bitat_tf.__version__}"


def test_public_names_are_there_as_before():
    names = [name for name in bitat_tf.__all__ if name != "__version__"]
    modules = {path.stem for path in PACKAGE.iterdir()}
    code = f"import bitat_tf; print([getattr(bitat_tf, name).__name__ for name in {names} if name in dir(bitat_tf)])"
    assert run(code) == str([f"bitat_tf.{name}" if name in modules else name for name in names])


def test_looking_into_files_and_help_load_no_tensorflow(tmp_path):
    (tmp_path / "model.tflite").write_bytes(small_file())
    commands = [["inspect", f"{tmp_path}/model.tflite"], ["dump", f"{tmp_path}/model.tflite", "--out", f"{tmp_path}/bits.npz"]]
    code = f"""
import sys
from bitat_tf.cli import build_parser, main
build_parser().format_help()
codes = [main(command) for command in {commands}]
print(codes, [name for name in ("tensorflow", "keras", "jax") if name in sys.modules])
"""
    assert run(code).splitlines()[-1] == "[0, 0] []"
    assert (tmp_path / "bits.npz").exists()


REFUSED = {
    "experiment cross-layer --data digits --out {folder}/new": "32 or more, or a trained network of yours as --model",
    "experiment cross-layer --data x --image-size 16 --out {folder}/new": "of at least 32x32. Received: /",
    "experiment gap --blocks 20 --out {folder}/new": "`blocks` must be a finite number >= 1 and <= 13. Received: blocks=20",
    "experiment gap --resume --out {folder}/new": "holds no run",
    "train --blocks 99 --out {folder}/new": "`blocks` must be a finite number >= 1 and <= 13. Received: blocks=99",
    "train --epochs-per-layer 0 --out {folder}/new": "`epochs_per_layer` must be a finite number > 0",
    "train --joint-epochs -1 --out {folder}/new": "`joint_epochs` must be a finite number >= 0",
    "train --strength -1 --out {folder}/new": "`strength` must be a finite number >= 0",
    "train --binarization-learning-rate 0 --out {folder}/new": "`binarization_learning_rate` must be a finite number > 0",
    "train --test x --aspect pad --out {folder}/new": "--test, --aspect: only for folders of images",
    "train --out {folder}": "holds files that are not of a run",
    "train --resume --out {folder}/new": "holds no run",
    "binarize x.keras --out {folder}/new": "--data digits|DIR must be given",
    "binarize x.keras --data x --epochs -1 --out {folder}/new": "`epochs` must be a finite number >= 0",
    "binarize x.keras --data x --out {folder}": "holds files that are not of a run",
    "export x.keras x.bin": "must end with .tflite",
    "export x.keras x.tflite --calibration 0": "`calibration` must be a finite number >= 1. Received: calibration=0",
    "export x.keras x.tflite --int8": "--int8 measures ranges on images",
    "export x.keras x.tflite --test x": "--test: only for images. Received: no --data",
    "verify x.keras x.tflite --data digits --aspect pad": "--aspect: only for folders of images",
}


def test_what_is_wrong_with_options_is_said_before_anything_is_loaded(tmp_path):
    (tmp_path / "somebody.txt").write_text("else's")
    commands = [command.format(folder=tmp_path).split() for command in REFUSED]
    code = f"""
import contextlib, io, sys
from bitat_tf.cli import main
for command in {commands}:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(command)
    print(code, repr(said.getvalue()), [name for name in ("tensorflow", "keras", "jax", "sklearn") if name in sys.modules])
"""
    for (command, message), line in zip(REFUSED.items(), run(code).splitlines(), strict=True):
        assert line[:13] in ("2 'bitat-tf: ", '2 "bitat-tf: '), (command, line)
        assert message in line, (command, line)
        assert line.endswith(" []"), (command, line)
    assert [path.name for path in tmp_path.iterdir()] == ["somebody.txt"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("benchmark x.tflite --runs 2", "--runs: expected a whole number >= 3. Received: '2'"),
        ("benchmark x.tflite --threads 0", "--threads: expected a whole number >= 1. Received: '0'"),
        ("verify x.keras x.tflite --traced -1", "--traced: expected a whole number >= 0. Received: '-1'"),
    ],
)
def test_numbers_are_checked_by_the_parser(command, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(command.split())
    assert message in capsys.readouterr().err


def test_a_name_that_there_is_not():
    with pytest.raises(AttributeError, match="module 'bitat_tf' has no attribute 'binarise'"):
        bitat_tf.binarise  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'binarise'"):
        exec("from bitat_tf import binarise")


@pytest.mark.parametrize("name", ["callbacks.SequentialBinarization", "export.to_tflite", "layers.BinaryConv2D"])
def test_a_name_of_another_room_is_found(name):
    with pytest.raises(AttributeError, match=rf"Did you mean bitat_tf\.{name}\?"):
        getattr(bitat_tf, name.rpartition(".")[2])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a folder with a model that has layers of several modules."""
    inputs = keras.Input((4, 4, 8))
    x = bitat_tf.layers.RPReLU()(bitat_tf.layers.BinaryConv2D(4, 3)(inputs))
    x = bitat_tf.applications.meliusnet.ChannelSlice(0, 2)(x)
    model = keras.Model(inputs, bitat_tf.layers.BinaryDense(3)(keras.layers.Flatten()(x)))
    folder = tmp_path_factory.mktemp("saved")
    model.save(folder / "model.keras")
    return folder


BEFORE = {
    "nothing": "import bitat_tf, keras",
    "a module": "from bitat_tf.data import load_digits\nimport keras",
    "Keras": "import keras, bitat_tf",
    "TensorFlow and Keras": "import tensorflow as tf\nimport keras\ntf.keras.Sequential\nimport bitat_tf",
}


@pytest.mark.parametrize("before", ["nothing", *(pytest.param(one, marks=pytest.mark.slow) for one in [*BEFORE][1:])])
def test_models_are_loaded_whatever_was_used_before(before, saved):
    code = f"""
{BEFORE[before]}
model = keras.models.load_model({str(saved / "model.keras")!r}, compile=False)
layers = [layer for layer in model.layers if type(layer).__name__ in ("BinaryConv2D", "RPReLU", "ChannelSlice", "BinaryDense")]
import bitat_tf.layers
print(len(layers), isinstance(layers[0], bitat_tf.layers.BinaryConv2D), keras.__spec__.loader is keras.__loader__)
"""
    assert run(code) == "4 True True"


@pytest.mark.slow
def test_a_model_of_keras_2_gets_an_error_that_says_so():
    pytest.importorskip("tf_keras")
    code = """
import bitat_tf, numpy as np, tf_keras
model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(2)])
for call in (bitat_tf.check, bitat_tf.binarize, bitat_tf.callbacks.SequentialBinarization(np.zeros((1, 2))).total_epochs):
    try:
        call(model)
    except TypeError as error:
        print(error)
"""
    found = run(code)
    assert found.count("received a model of Keras 2 (tf_keras.src.engine.sequential.Sequential)") == 3
    assert found.count("bitat-tf import old.keras new.keras") == 3


def test_all_classes_that_enter_themselves_are_named():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in re.findall(r'register_keras_serializable\(package="bitat_tf"\)\nclass (\w+)', path.read_text()):
            found[name] = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    assert found == CLASSES
    for name, module in CLASSES.items():
        own = getattr(importlib.import_module(f"bitat_tf.{module}"), name)
        assert keras.saving.get_registered_object(f"bitat_tf>{name}") is own
