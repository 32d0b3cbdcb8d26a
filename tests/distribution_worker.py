"""A process of a distributed run: `python distribution_worker.py SETTINGS`, a JSON object; see `tests/test_distribution.py`.

It trains a small network through all phases of a schedule and writes its variables to `out`.
"""

import json
import os
import sys

SETTINGS = json.loads(sys.argv[1])
os.environ["KERAS_BACKEND"] = "tensorflow" if SETTINGS["strategy"] == "mirrored" else "jax"

import contextlib  # noqa: E402
import faulthandler  # noqa: E402

import keras  # noqa: E402
import numpy as np  # noqa: E402

import bitat_tf  # noqa: E402
from bitat_tf.callbacks import Backup, Schedule, SequentialBinarization  # noqa: E402

BATCH = 32


def scope():
    """Return the scope that the model is built in."""
    if SETTINGS["strategy"] == "one":
        return contextlib.nullcontext()
    if SETTINGS["strategy"] == "mirrored":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()
    import jax

    jax.distributed.initialize(SETTINGS["coordinator"], num_processes=2, process_id=SETTINGS["index"])
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return contextlib.nullcontext()


def network():
    inputs = keras.Input((8, 8, 1))
    x = inputs
    # Statistics of the whole batch: those of each replica's part would be other ones than one device has.
    synchronized = {"synchronized": True} if SETTINGS["strategy"] == "mirrored" else {}
    for number in (1, 2):
        x = bitat_tf.layers.BinaryConv2D(6, 3, padding="same", use_bias=False, name=f"binary_{number}")(x)
        x = keras.layers.BatchNormalization(name=f"bn_{number}", **synchronized)(x)
        x = bitat_tf.layers.RPReLU(name=f"rprelu_{number}")(x)
    outputs = keras.layers.Dense(10, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


class Die(keras.callbacks.Callback):
    """Kills the process, as the loss of its machine does, before an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == SETTINGS["die"]:
            os._exit(9)


def main():
    faulthandler.dump_traceback_later(240, exit=True)  # a process that waits for the others forever says where
    built = scope()
    keras.utils.set_random_seed(0)
    digits = bitat_tf.data.load_digits()
    with built:
        model = network()
        model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = digits.train_images[:128], digits.train_labels[:128]
    batches = bitat_tf.data.training_dataset(
        images, labels, BATCH, seed=0, augment="shift", iterations=model.optimizer.iterations
    )
    if SETTINGS["strategy"] == "workers":  # each process feeds its half of every batch
        half = slice(BATCH // 2 * SETTINGS["index"], BATCH // 2 * (SETTINGS["index"] + 1))
        batches = batches.map(lambda x, y: (x[half], y[half]))
    first, count = SETTINGS["calibration"]
    calibration = digits.train_images[first : first + count].astype(np.float32)
    refresh = 0.25 if SETTINGS["refresh"] else None
    freeze = "quantization" if SETTINGS["strategy"] == "mirrored" else "never"
    bitat = SequentialBinarization(calibration, Schedule(0.5, 0.5, 1, freeze=freeze, refresh_epochs=refresh), verbose=0)
    callbacks = [bitat, Backup(SETTINGS["backup"], delete_checkpoint=False), Die()]
    history = model.fit(batches, epochs=bitat.total_epochs(model), callbacks=callbacks, verbose=0)
    variables = {variable.path: np.asarray(keras.ops.convert_to_numpy(variable)) for variable in model.variables}
    np.savez(SETTINGS["out"], epochs=history.epoch, **{path.replace("/", ":"): value for path, value in variables.items()})


main()
