"""What stands in a kit, the parts that are no C++, and which files it refuses."""

import hashlib
import os
import re
import subprocess

import numpy as np
import pytest
from kit_files import small_model
from larq_compute_engine.mlir.python import tflite_schema as schema

from bitat_tf._keras import keras, tf
from bitat_tf._pixels import Scaling
from bitat_tf.deployment.kit import write_kit
from bitat_tf.export import to_tflite
from bitat_tf.tflite_file.content import facts, parse, sealed, serialize


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "small.tflite"
    to_tflite(small_model(), path, classes=["cat", "dog", "größte Maus"], pixels="-1..1")
    return path


def changed(path, folder, change=lambda model: None, **new_facts):
    """Write a file with other facts, sealed again; without any if `new_facts` is empty."""
    model = parse(path.read_bytes())
    change(model)
    own = facts(model)
    if new_facts:
        content = sealed(model, {**own, **new_facts})
    else:
        for entry in model.metadata:
            if entry.name == b"bitat_tf":
                entry.name, model.buffers[entry.buffer].data = b"other", None
        content = serialize(model)
    (folder / "changed.tflite").write_bytes(content)
    return folder / "changed.tflite"


def test_a_kit_is_complete_and_agrees_with_the_file(exported, tmp_path):
    kit = write_kit(exported, tmp_path / "kit")
    there = {str(path.relative_to(kit.folder)) for path in kit.folder.rglob("*") if path.is_file()}
    assert there == set(kit.files)
    assert (kit.folder / "model.tflite").read_bytes() == exported.read_bytes()
    assert (kit.folder / "labels.txt").read_text("utf-8") == "cat\ndog\ngrößte Maus\n"
    assert kit.classes == ("cat", "dog", "größte Maus")
    assert kit.notes == ()
    readme = (kit.folder / "README.md").read_text("utf-8")
    assert hashlib.sha256(exported.read_bytes()).hexdigest() in readme
    assert "1 x 8 x 8 x 1, float32" in readme
    assert "1 x 3, float32" in readme
    assert "2 LceBconv2d" in readme
    for name in set(kit.files) - {"model.tflite", "labels.txt"}:
        text = (kit.folder / name).read_text("utf-8")
        assert not re.search(r"@[A-Z_]+@", text), name
        assert max(map(len, text.splitlines())) <= (128 if name != "README.md" else 1000), name
    for name in re.findall(r"`((?:cpp|android)/[\w./]+)`", readme):
        assert (kit.folder / name).exists(), name
    version = facts(parse(exported.read_bytes()))["versions"]["larq-compute-engine"]
    assert kit.engine_version == version
    for name in ("README.md", "benchmark.sh", "cpp/CMakeLists.txt", "android/build.gradle.kts"):
        assert f"v{version}" in (kit.folder / name).read_text("utf-8"), name
    assert os.access(kit.folder / "benchmark.sh", os.X_OK)


def test_the_numbers_of_the_pixels_stand_in_both_programs(exported, tmp_path):
    kit = write_kit(exported, tmp_path / "kit")
    for name in ("cpp/settings.h", "android/Settings.kt"):
        text = (kit.folder / name).read_text()
        assert f"{1 / 127.5!r}, {1 / 127.5!r}, {1 / 127.5!r}" in text, name
        assert "-1.0, -1.0, -1.0" in text, name


def test_given_classes_and_pixels_come_first(exported, tmp_path):
    kit = write_kit(exported, tmp_path / "kit", classes=list("abc"), pixels=Scaling((2.0,), 3, reverse=True))
    assert kit.classes == ("a", "b", "c")
    text = (kit.folder / "cpp/settings.h").read_text()
    assert "{2.0, 2.0, 2.0}" in text
    assert "{3.0, 3.0, 3.0}" in text
    assert "=*/true" in text


def test_what_a_foreign_file_does_not_say_is_assumed_and_told(exported, tmp_path):
    kit = write_kit(changed(exported, tmp_path), tmp_path / "kit")
    assert kit.classes == ("class 0", "class 1", "class 2")
    assert [note.split(":")[0] for note in kit.notes] == [
        "The file has no names of classes",
        "The file does not say what it expects of pixels",
        "The file does not say which converter wrote it",
    ]
    assert "(assumed: the file does not say)" in (kit.folder / "README.md").read_text()


def test_grouped_convolutions_take_the_kernel_that_can_run_them(tmp_path):
    to_tflite(small_model(groups=2), tmp_path / "grouped.tflite")
    kit = write_kit(tmp_path / "grouped.tflite", tmp_path / "kit")
    assert 'kKernel[] = "indirect"' in (kit.folder / "cpp/kernel.h").read_text()
    assert "--use_indirect_bgemm=true" in (kit.folder / "benchmark.sh").read_text()


def test_bytes_are_for_integers(exported, tmp_path):
    with pytest.raises(ValueError, match="pixels='bytes' is for a file that takes integers. Received: one that takes float32"):
        write_kit(exported, tmp_path / "kit", pixels="bytes")

    def take_int8(model):
        graph = model.subgraphs[0]
        tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
        old = graph.tensors[graph.inputs[0]]
        tensor.name, tensor.shape, tensor.type, tensor.buffer = b"bytes", old.shape, schema.TensorType.INT8, 0
        quantization.scale, quantization.zeroPoint = np.array([0.5], np.float32), np.array([3], np.int64)
        tensor.quantization = quantization
        graph.tensors.append(tensor)
        operator, code = schema.OperatorT(), schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = 2
        model.operatorCodes.append(code)
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = np.array([len(graph.tensors) - 1], np.int32), np.array(graph.inputs, np.int32)
        graph.operators.insert(0, operator)
        graph.inputs = operator.inputs
        model.signatureDefs = []

    kit = write_kit(changed(exported, tmp_path, take_int8, pixels="bytes"), tmp_path / "kit")
    assert "kTakesBytes = true" in (kit.folder / "cpp/settings.h").read_text()
    assert "TAKES_BYTES = true" in (kit.folder / "android/Settings.kt").read_text()
    readme = (kit.folder / "README.md").read_text()
    assert "1 x 8 x 8 x 1, int8: 0.5 * (value - 3)" in readme
    assert "the bytes of the picture, less 128" in readme


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"classes": "abc"}, TypeError, "`classes` must be a list of names. Received: the single text 'abc'"),
        ({"classes": ["a", "b"]}, ValueError, "must name each of the 3 classes of the output, in its order. Received: 2 names"),
        ({"classes": ["a", "b", "c\nd"]}, ValueError, r"must be a text of one line. Received: 'c\\nd'"),
        ({"classes": ["a", "", "c"]}, ValueError, "must be a text of one line. Received: ''"),
        ({"pixels": "0..2"}, ValueError, r"`pixels` must be one of 0..255, .*, bytes, or a Scaling. Received: '0..2'"),
        ({"pixels": "imagenet"}, ValueError, "`pixels` must fit the 1 channels of the input. Received: one for 3"),
        ({"pixels": Scaling(float("nan"))}, ValueError, "`pixels.scale` must be a finite number, .* Received: nan"),
        ({"pixels": Scaling(1, (1, 2))}, ValueError, r"`pixels.offset` must be .* each of the 1 channels. Received: \(1, 2\)"),
        ({"pixels": 5}, TypeError, "`pixels` must be a key of PIXELS, 'bytes' or a Scaling. Received: 5"),
    ],
)
def test_wrong_arguments(exported, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        write_kit(exported, tmp_path / "kit", **arguments)
    assert not (tmp_path / "kit").exists()


def test_folders_that_hold_something_are_left_alone(exported, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be new or empty. Received: .* which holds 'mine.txt'.*overwrite=True"):
        write_kit(exported, tmp_path)
    with pytest.raises(ValueError, match=r"goes into a folder. Received: .*mine.txt', which is a file"):
        write_kit(exported, tmp_path / "mine.txt")
    write_kit(exported, tmp_path, overwrite=True)
    write_kit(exported, tmp_path, classes=list("abc"), overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "labels.txt").read_text() == "a\nb\nc\n"


def test_files_that_are_no_image_classifiers(exported, tmp_path):
    for name, content, message in (
        ("empty", b"", "an empty file"),
        ("text", b"not a network at all", "which has TFL3 at byte 4"),
        ("cut", exported.read_bytes()[:-3000], "damaged"),
    ):
        (tmp_path / f"{name}.tflite").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            write_kit(tmp_path / f"{name}.tflite", tmp_path / "kit")
    for shape, build, message in (
        (
            (5,),
            lambda x: keras.layers.Dense(3)(x),
            "input must be a picture, 1 x height x width x 1 or 3 channels. Received: 1 x 5",
        ),
        ((8, 8, 2), lambda x: keras.layers.GlobalAveragePooling2D()(x), "1 or 3 channels. Received: 1 x 8 x 8 x 2, float32"),
        ((8, 8, 3), lambda x: keras.layers.Conv2D(2, 3)(x), "one score a class, 1 x classes. Received: 1 x 6 x 6 x 2"),
    ):
        inputs = keras.Input(shape, batch_size=1)
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, build(inputs)))
        (tmp_path / "other.tflite").write_bytes(converter.convert())
        with pytest.raises(ValueError, match=message):
            write_kit(tmp_path / "other.tflite", tmp_path / "kit")
    with pytest.raises(FileNotFoundError):
        write_kit(tmp_path / "none.tflite", tmp_path / "kit")
    assert not (tmp_path / "kit").exists()


@pytest.mark.parametrize("version", ["0.16.0; rm -rf ~", "0.16.0.dev1", "$(id)", 16])
def test_nothing_but_a_version_gets_into_the_scripts(exported, tmp_path, version):
    with pytest.raises(ValueError, match="expected a released version of larq-compute-engine, such as 0.16.0. Received: "):
        write_kit(changed(exported, tmp_path, versions={"larq-compute-engine": version}), tmp_path / "kit")


def test_a_name_cannot_change_the_readme(exported, tmp_path):
    kit = write_kit(changed(exported, tmp_path, name="a|b`c\n# @SIZE@"), tmp_path / "kit")
    assert (kit.folder / "README.md").read_text().splitlines()[0] == "# a_b_c__ _SIZE_ on a device"


PROFILE = "Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 4"


@pytest.fixture
def script(exported, tmp_path):
    """A kit's script, with programs in a folder of their own that stand in the place of adb, uname and curl."""
    kit, programs = write_kit(exported, tmp_path / "kit"), tmp_path / "programs"
    programs.mkdir()

    def program(name, text):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n{text}\n')
        (programs / name).chmod(0o755)

    program("adb", f'case "$*" in get-state) echo device;; *abi*) echo arm64-v8a;; *--graph*) echo "{PROFILE}";; esac')
    program("uname", "echo aarch64")
    program("curl", "exit 22")
    program("lce_benchmark_model", f'echo "{PROFILE}"')

    def run(*arguments, **environment):
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        command = ["bash", kit.folder / "benchmark.sh", *map(str, arguments)]
        done = subprocess.run(
            command, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True, check=False
        )
        calls = tmp_path / "calls"
        return done, calls.read_text().splitlines() if calls.exists() else []

    run.program, run.programs, run.folder = program, programs, kit.folder
    return run


def test_the_script_measures_on_a_phone(script):
    done, calls = script("android", script.programs / "lce_benchmark_model", THREADS="4")
    assert done.returncode == 0, done.stderr
    runs = [call for call in calls if "--graph" in call]
    common = "--graph=/data/local/tmp/bitat/model.tflite --num_threads=4 --num_runs=50 --use_xnnpack=false"
    assert runs == [
        f"adb shell /data/local/tmp/bitat/lce_benchmark_model {common}{end}" for end in ("", " --enable_op_profiling=true")
    ]
    assert calls.index(next(call for call in calls if "push model.tflite" in call)) < calls.index(runs[0])
    assert PROFILE in (script.folder / "timing.txt").read_text()
    assert PROFILE in (script.folder / "profile.txt").read_text()


def test_the_script_measures_on_a_board(script):
    done, calls = script("here", script.programs / "lce_benchmark_model")
    assert done.returncode == 0, done.stderr
    assert sum("lce_benchmark_model --graph=model.tflite --num_threads=1 --num_runs=50" in call for call in calls) == 2


def test_the_script_says_what_is_missing(script):
    def message(*arguments):
        done, _ = script(*arguments)
        assert done.returncode == 1
        return done.stderr

    assert "'android' or 'here' is expected as the first argument. Received: ''" in message()
    assert "the release v0.16.0 does not have lce_benchmark_model_aarch64, or cannot be reached" in message("here")
    assert "releases/download/v0.16.0/lce_benchmark_model_android_arm64" in message("android") + script("android")[1][-1]
    script.program("lce_benchmark_model", "echo killed")
    assert "the benchmark did not come to its end" in message("here", script.programs / "lce_benchmark_model")
    script.program("uname", "echo x86_64")
    assert "a 64-bit ARM system is needed. This one is x86_64" in message("here")
    script.program("adb", 'case "$*" in get-state) echo device;; *) echo armeabi-v7a;; esac')
    assert "only arm64-v8a has fast binary kernels. The phone has armeabi-v7a" in message("android")
    script.program("adb", "exit 1")
    assert "adb sees no phone" in message("android")


@pytest.mark.parametrize("name", ["Classifier.kt", "PictureClassifier.kt", "Preprocess.kt", "Settings.kt", "build.gradle.kts"])
def test_kotlin_has_no_errors_of_syntax(exported, tmp_path, name):
    tree_sitter, kotlin = pytest.importorskip("tree_sitter"), pytest.importorskip("tree_sitter_kotlin")
    parser = tree_sitter.Parser(tree_sitter.Language(kotlin.language()))
    content = (write_kit(exported, tmp_path / "kit").folder / "android" / name).read_bytes()
    assert not parser.parse(content).root_node.has_error
    assert parser.parse(content.replace(b"{", b"(", 1)).root_node.has_error
