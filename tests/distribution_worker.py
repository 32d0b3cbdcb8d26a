"""A worker of a distributed run: `python distribution_worker.py SETTINGS`, a JSON object; see `tests/test_distribution.py`.

It trains a small network through all phases of a schedule and writes its variables to `out`.
"""

import json
import os
import sys

SETTINGS = json.loads(sys.argv[1])
if SETTINGS["cluster"]:
    # TensorFlow reads it when the strategy is made.
    task = {"type": "worker", "index": SETTINGS["index"]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": SETTINGS["cluster"]}, "task": task})

import numpy as np  # noqa: E402

import bitat_tf  # noqa: E402
from bitat_tf._keras import keras, tf  # noqa: E402
from bitat_tf.callbacks import Backup, Schedule, SequentialBinarization  # noqa: E402


def strategy_of(name):
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return tf.distribute.MultiWorkerMirroredStrategy()


def network():
    inputs = keras.Input((8, 8, 1))
    x = inputs
    for number in (1, 2):
        x = bitat_tf.layers.BinaryConv2D(6, 3, padding="same", use_bias=False, name=f"binary_{number}")(x)
        # Statistics of the whole batch: those of each replica's part would be other ones than one device has.
        x = keras.layers.BatchNormalization(synchronized=True)(x)
        x = bitat_tf.layers.RPReLU()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))


class Die(keras.callbacks.Callback):
    """Kills the worker, as the loss of its machine does, before an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == SETTINGS["die"]:
            os._exit(9)


def main():
    strategy = strategy_of(SETTINGS["strategy"])
    keras.utils.set_random_seed(0)
    digits = bitat_tf.data.load_digits()
    with strategy.scope():
        model = network()
        model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = digits.train_images[:128], digits.train_labels[:128]
    batches = bitat_tf.data.training_dataset(images, labels, 32, seed=0, augment="shift", iterations=model.optimizer.iterations)
    first, count = SETTINGS["calibration"]
    calibration = digits.train_images[first : first + count].astype(np.float32)
    refresh = 0.25 if SETTINGS["refresh"] else None
    bitat = SequentialBinarization(calibration, Schedule(0.5, 0.5, 1, freeze="quantization", refresh_epochs=refresh), verbose=0)
    callbacks = [bitat, Backup(SETTINGS["backup"], delete_checkpoint=False), Die()]
    history = model.fit(batches, epochs=bitat.total_epochs(model), callbacks=callbacks, verbose=0)
    variables = {variable.name: variable.numpy() for variable in model.variables}
    for number, layer in enumerate(bitat_tf.layers.binary_layers(model)):
        for variable in layer.disentangled_state.variables:
            variables[f"disentangled {number} {variable.name.split(':')[0]}"] = variable.numpy()
    np.savez(SETTINGS["out"], epochs=history.epoch, replicas=strategy.num_replicas_in_sync, **variables)


main()
