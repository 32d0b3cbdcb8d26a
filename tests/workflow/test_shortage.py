"""Too little memory and full disks are told in words, before TensorFlow crashes where that can be known."""

import errno
import os
import resource
import signal
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

import bitat_tf
from bitat_tf._files import check_room
from bitat_tf.callbacks import Backup
from bitat_tf.cli.shortage import in_words

FULL = "No space left on device"
GIB = 2**30


def limited(limit, code):
    """Run a program that may have so many bytes of addresses."""

    def limit_addresses():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, preexec_fn=limit_addresses)


def test_too_little_memory_to_load_tensorflow_is_said_before():
    done = limited(GIB, "import sys; from bitat_tf.cli import main; sys.exit(main(['check', 'x.keras']))")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "bitat-tf: TensorFlow takes 2 GiB of addresses to be loaded. Received: a limit of 1 GiB (ulimit -v). Raise it: "
        "ulimit -v unlimited.\n"
    )


@pytest.mark.parametrize(("limit", "trains", "said"), [(3, True, True), (3, False, False), (5, True, False)])
def test_too_little_memory_to_train_is_said_at_the_start(limit, trains, said):
    done = limited(limit * GIB, f"from bitat_tf.cli.shortage import check_memory_limit as c; print(end=c({trains}))")
    assert done.returncode == 0, done.stderr
    message = (
        "bitat-tf: a training takes about 4 GiB of addresses, without which TensorFlow crashes. Received: a limit of 3 GiB"
    )
    assert done.stdout.startswith(message) if said else done.stdout == ""


SAVE = "{{function_node __wrapped__SaveV2_dtypes_5_device_/job:localhost}} /x; " + FULL + " [Op:SaveV2]"
OOM = "{{function_node __wrapped__Conv2D}} OOM when allocating tensor with shape[9] [Op:Conv2D]"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (tf.errors.ResourceExhaustedError(None, None, SAVE), f"a disk is full: {FULL}. Free some space in the folder"),
        (OSError(errno.ENOSPC, FULL, "/x/y"), f"a disk is full (/x/y): {FULL}. Free some"),
        (OSError(errno.ENOSPC, f"could not write /x: {FULL}. free some space"), f"[Errno 28] could not write /x: {FULL}. free"),
        (
            tf.errors.ResourceExhaustedError(None, None, OOM),
            "there is too little memory: OOM when allocating tensor with shape[9].",
        ),
        (
            MemoryError(),
            "there is too little memory: no more is to be had. Free some, raise the limit, or pass a smaller --batch-",
        ),
        (MemoryError("Unable to allocate 9. GiB"), "there is too little memory: Unable to allocate 9. GiB. Free some"),
        (ValueError("x"), "x"),
    ],
)
def test_what_is_said_of_errors(error, said):
    text = in_words(error)
    assert text.startswith(said)
    assert "function_node" not in text


def test_a_command_without_memory_ends_with_words(call, monkeypatch):
    def none_left(*arguments):
        raise MemoryError("Unable to allocate 8.00 GiB for an array")

    monkeypatch.setattr("bitat_tf.workflow.loading.check_kind", none_left)
    code, _, error = call("check", "x.keras")
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("bitat-tf: there is too little memory: Unable to allocate 8.00 GiB for an array. Free some")


def test_room_is_looked_for_before_hdf5_writes(tmp_path, monkeypatch):
    """HDF5 ends the process where the disk is full when it closes a file."""

    def full(*arguments):
        raise OSError(errno.ENOSPC, FULL)

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(model, "save_weights", lambda path: pytest.fail("HDF5 was asked to write"))
    backup = Backup(tmp_path)
    backup.set_model(model)
    backup.on_train_begin()
    with pytest.raises(OSError, match=rf"Backup: epoch 1 could not be saved .*{FULL}.*Free some space there"):
        backup.on_epoch_end(0)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "posix_fallocate", lambda *arguments: (_ for _ in ()).throw(OSError(errno.EOPNOTSUPP, "no")))
    check_room(tmp_path, 9)  # a file system that cannot tell


def test_an_export_with_a_full_temporary_folder_says_so(tmp_path):
    """The converter then tries a way that writes nothing, and gives a file without names."""
    model = keras.Sequential([keras.Input((4, 4, 8)), bitat_tf.layers.BinaryConv2D(8, 3), keras.layers.Flatten()])
    model.layers[0].set_binary()
    model = keras.Sequential([keras.Input((4, 4, 8)), model, keras.layers.Dense(10_000)])  # 1.3 MB
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))  # what the system says then is what a full disk says
    try:
        with pytest.raises(
            OSError, match=r"could not write into the temporary folder .*free some space there, or name another"
        ):
            bitat_tf.export.to_tflite(model, tmp_path / "model.tflite", verify=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
