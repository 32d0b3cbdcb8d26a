"""Backups: a run that stops goes on from the last one that can be read, and ends with the same weights."""

import resource
import shutil
import signal

import keras
import numpy as np
import pytest

from bitat_tf import data
from bitat_tf.callbacks import Backup, Schedule, SequentialBinarization
from bitat_tf.layers import binary_layers

EPOCHS = 5


def small_model(units=3):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, name="first"), keras.layers.Dense(1, name="last")])
    model.compile("adam", "mse")
    return model


def before_epoch(number, action):
    """Return a callback that does something before an epoch."""
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: action() if epoch == number else None)


def interrupt():
    """Stop the run as Ctrl-C does."""
    raise KeyboardInterrupt


def fit(model, *callbacks):
    generator = np.random.default_rng(0)
    inputs, targets = generator.normal(size=(32, 4)), generator.normal(size=32)
    return model.fit(inputs, targets, 8, EPOCHS, shuffle=False, verbose=0, callbacks=list(callbacks))


@pytest.fixture
def stopped(tmp_path):
    """Return the folder of a run that was stopped after three epochs."""
    with pytest.raises(KeyboardInterrupt):
        fit(small_model(), Backup(tmp_path / "backup", largest_share=1), before_epoch(3, interrupt))
    return tmp_path / "backup"


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


NEWEST = "epoch-000003.weights.h5"
DAMAGE = {
    "none": (lambda folder: None, 3),
    "a byte of the newest": (lambda folder: change_a_byte(folder / NEWEST), 2),
    "the newest cut off": (lambda folder: (folder / NEWEST).write_bytes(b"abc"), 2),
    "the newest empty": (lambda folder: (folder / NEWEST).write_bytes(b""), 2),
    "checksum gone": (lambda folder: (folder / "epoch-000003.json").unlink(), 2),
    "checksum damaged": (lambda folder: (folder / "epoch-000003.json").write_text('{"sha'), 2),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_last_readable_backup_is_taken_and_the_end_is_the_same(kind, stopped):
    whole = small_model()
    fit(whole)
    damage, epoch = DAMAGE[kind]
    damage(stopped)
    model = small_model()
    if epoch < 3:
        with pytest.warns(UserWarning, match=r"Backup: damaged: .*epoch-000003.* continues from .*epoch-000002"):
            history = fit(model, Backup(stopped, delete_checkpoint=False, largest_share=1))
    else:
        history = fit(model, Backup(stopped, delete_checkpoint=False, largest_share=1))
    assert history.epoch == list(range(epoch, EPOCHS))
    for weight, expected in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    kept = [f"epoch-00000{number}{ending}" for number in (4, 5) for ending in (".json", ".weights.h5")]
    assert sorted(path.name for path in stopped.iterdir()) == kept


def test_no_readable_backup_and_another_model_are_refused(stopped):
    others = {name: small_model() for name in ("optimizer", "layers")}
    others["optimizer"].compile(keras.optimizers.SGD(momentum=0.9), "mse")
    others["layers"] = keras.Sequential([*small_model().layers, keras.layers.Dense(1, name="one_more")])
    others["layers"].build((None, 4))
    others["layers"].compile("adam", "mse")
    for other in (small_model(units=5), *others.values()):
        with pytest.raises(ValueError, match="cannot be restored into this model .* or remove "):
            fit(other, Backup(stopped))
    with pytest.raises(ValueError, match="must be one of a file system. Received: directory='gs://bucket/run'"):
        Backup("gs://bucket/run")
    for number in (2, 3):
        change_a_byte(stopped / f"epoch-00000{number}.weights.h5")
    with pytest.raises(ValueError, match=r"no backup in .* can be read: .*epoch-000003.*epoch-000002.*Remove the folder"):
        fit(small_model(), Backup(stopped))


@pytest.mark.slow
def test_short_epochs_are_not_all_backed_up(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("bitat_tf.callbacks.backup.time.monotonic", lambda: clock[0])
    saved = []

    def save(self, model, epochs):
        clock[0] += 1.0  # a backup takes a second, an epoch ten
        saved.append(clock[0])

    class Epoch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            clock[0] += 10.0

    monkeypatch.setattr(Backup, "_write", save)
    model = small_model()
    model.fit(np.ones((8, 4)), np.ones(8), epochs=40, verbose=0, callbacks=[Epoch(), Backup(tmp_path, largest_share=0.05)])
    assert saved[0] == 11.0, "the first epoch is"
    waits = np.diff(saved) - 1
    assert (waits == 20).all(), "the first end of an epoch at least 19 seconds after"
    for wrong in (0, 1.5, "all"):
        with pytest.raises(ValueError, match="`largest_share` must be a finite number > 0 and <= 1. Received"):
            Backup(tmp_path, largest_share=wrong)


def test_backups_are_deleted_at_the_end_unless_they_are_wanted(stopped):
    copy = shutil.copytree(stopped, stopped.with_name("copy"))
    fit(small_model(), Backup(stopped))
    assert not list(stopped.rglob("epoch*"))
    fit(small_model(), Backup(copy, delete_checkpoint=False))
    assert list(copy.rglob("epoch*"))


def fill_the_disk():
    """Let no file grow beyond a megabyte: what the system says then is what a full disk says."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.slow
def test_a_full_disk_keeps_the_backup_before(tmp_path):
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(
            OSError, match=r"epoch 3 could not be saved .* The backup before it, .*epoch-000002.*, is untouched"
        ):
            fit(small_model(100_000), Backup(tmp_path, largest_share=1), before_epoch(2, fill_the_disk))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    whole, model = small_model(100_000), small_model(100_000)
    fit(whole)
    assert fit(model, Backup(tmp_path)).epoch == [2, 3, 4]
    np.testing.assert_array_equal(model.get_weights()[0], whole.get_weights()[0])


@pytest.fixture(scope="module")
def run_schedule(make_network, images):
    """Return a function that trains through a schedule, and returns the network and its history."""
    pixels = np.clip(40 * images[0] + 128, 0, 255).astype(np.uint8)

    def run(*callbacks):
        keras.utils.set_random_seed(1)
        model = make_network()
        batches = data.training_dataset(pixels, images[1], 8, 3, "shift-flip", iterations=model.optimizer.iterations)
        schedule = Schedule(0.7, 0.7, 1.0, freeze="quantization", refresh_epochs=0.3)
        bitat = SequentialBinarization(pixels[:16].astype(np.float32), schedule, verbose=0)
        history = model.fit(batches, epochs=bitat.total_epochs(model), verbose=0, callbacks=[bitat, *callbacks])
        return model, history

    return run


@pytest.fixture(scope="module")
def uninterrupted(run_schedule):
    """Return the network and the history of a run that nothing happened to."""
    return run_schedule()


@pytest.mark.parametrize(
    ("callback", "epoch"),
    [
        pytest.param(Backup, 2, marks=pytest.mark.slow),  # fast: resuming in tests/workflow
        pytest.param(Backup, 5, marks=pytest.mark.slow),
        pytest.param(keras.callbacks.BackupAndRestore, 1, marks=pytest.mark.slow),
    ],
)
def test_a_schedule_goes_on_bit_by_bit(callback, epoch, run_schedule, uninterrupted, tmp_path):
    """Stopped in a quantization phase with frozen layers, in the joint phase, and in a fine-tuning phase."""
    every = {"largest_share": 1} if callback is Backup else {}
    whole, history = uninterrupted
    with pytest.raises(KeyboardInterrupt):
        run_schedule(callback(str(tmp_path), **every), before_epoch(epoch, interrupt))
    model, resumed = run_schedule(callback(str(tmp_path)))
    assert resumed.epoch == list(range(epoch, 6))
    for name, values in resumed.history.items():
        assert values == history.history[name][epoch:], name
    for variable, expected in zip(model.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected.numpy(), err_msg=variable.name)
    for moment, expected in zip(model.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(moment.numpy(), expected.numpy(), err_msg=moment.name)
    assert all(layer.state == "binary" for layer in binary_layers(model))
