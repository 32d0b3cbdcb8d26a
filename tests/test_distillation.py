"""Training with a float teacher: the loss against scipy and finite differences, the training step against a loop by hand."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import rel_entr, softmax

import bitat_tf
from bitat_tf.callbacks import Schedule, SequentialBinarization
from bitat_tf.distillation import Distiller, distillation_loss
from bitat_tf.layers import binary_layers
from bitat_tf.model_graph import is_graph


def logits(seed, shape=(5, 4)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 3


def divergence(teacher, student, temperature=1.0):
    """Return T^2 KL by scipy's relative entropy."""
    return temperature**2 * rel_entr(softmax(teacher / temperature, -1), softmax(student / temperature, -1)).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 0.5])
def test_loss_is_scipys_relative_entropy(temperature):
    teacher, student = logits(0), logits(1)
    np.testing.assert_allclose(
        distillation_loss(teacher, student, temperature), divergence(teacher, student, temperature), rtol=2e-4, atol=1e-6
    )


def test_of_probabilities_it_is_the_same():
    teacher, student = logits(0), logits(1)
    found = distillation_loss(softmax(teacher, -1), softmax(student, -1), 2.0, outputs="probabilities")
    np.testing.assert_allclose(found, divergence(teacher, student, 2.0), rtol=1e-3)


def test_probabilities_of_zero_stay_finite():
    found = distillation_loss(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]]), outputs="probabilities")
    assert np.isfinite(found.numpy()).all()
    assert found.numpy()[0] > 10


def small(name="net"):
    inputs = keras.Input((6,))
    x = bitat_tf.layers.BinaryDense(8, name="binary")(inputs)
    return keras.Model(
        inputs,
        keras.layers.Dense(4, kernel_regularizer="l2", name="logits")(keras.layers.BatchNormalization(name="bn")(x)),
        name=name,
    )


def pair():
    student, teacher = small(), small("teacher")
    return student, teacher


def compiled(model, optimizer=None):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def data(count=16):
    generator = np.random.default_rng(3)
    return generator.normal(size=(count, 6)).astype(np.float32), generator.integers(0, 4, count)


def step_by_hand(student, teacher, x, y, weight, temperature, sample_weight=None):
    """Return the loss and the weights after one step of gradient descent, written out."""
    goal = teacher(x, training=False)
    weights = np.ones(len(x), np.float32) if sample_weight is None else sample_weight
    with tf.GradientTape() as tape:
        found = student(x, training=True)
        task = tf.reduce_mean(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(y, found))
        p = tf.nn.softmax(goal / temperature)
        kl = tf.reduce_sum(p * (tf.math.log(p) - tf.nn.log_softmax(found / temperature)), -1) * temperature**2
        loss = (1 - weight) * task + weight * tf.reduce_mean(weights * kl) + tf.add_n(student.losses)
    gradients = tape.gradient(loss, student.trainable_variables)
    return float(loss), [
        variable.numpy() - (0.0 if gradient is None else 0.1 * gradient.numpy())
        for variable, gradient in zip(student.trainable_variables, gradients, strict=True)
    ]


@pytest.mark.parametrize(("weight", "temperature", "weighted"), [(1.0, 1.0, False), (0.3, 2.0, False), (0.5, 1.0, True)])
def test_a_step_is_the_one_written_out(weight, temperature, weighted):
    student, teacher = pair()
    x, y = data()
    sample_weight = np.random.default_rng(4).uniform(0.5, 2, len(x)).astype(np.float32) if weighted else None
    twin = small()
    twin.set_weights(student.get_weights())
    loss, expected = step_by_hand(twin, teacher, x, y, weight, temperature, sample_weight)
    distiller = compiled(Distiller(student, teacher, weight, temperature))
    history = distiller.fit(x, y, sample_weight=sample_weight, batch_size=16, verbose=0)
    assert history.history["loss"] == pytest.approx([loss], rel=1e-4)
    for found, wanted in zip(student.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_of_a_teacher_alone_neither_labels_nor_a_loss_matter():
    x, y = data()
    weights = []
    student, teacher = pair()
    start = student.get_weights()
    for labels, loss in (
        (y, "sparse_categorical_crossentropy"),
        (y[::-1], "sparse_categorical_crossentropy"),
        (0 * y - 1, None),
    ):
        student.set_weights(start)
        distiller = Distiller(student, teacher)
        distiller.compile(keras.optimizers.SGD(0.1), loss)
        distiller.fit(x, labels, shuffle=False, verbose=0)
        weights.append(student.get_weights())
    for other in weights[1:]:
        for found, wanted in zip(other, weights[0], strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_checkpoints_hold_the_student(tmp_path):
    student, teacher = pair()
    x, y = data()
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"))
    compiled(Distiller(student, teacher)).fit(x, y, callbacks=[checkpoint], verbose=0)
    loaded = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), student.predict(x, verbose=0))


def test_weight_zero_is_training_without_a_teacher():
    student, teacher = pair()
    twin = small()
    twin.set_weights(student.get_weights())
    x, y = data()
    compiled(Distiller(student, teacher, weight=0.0)).fit(x, y, shuffle=False, verbose=0)
    compiled(twin).fit(x, y, shuffle=False, verbose=0)
    for found, wanted in zip(student.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_it_is_the_student_and_leaves_the_teacher_alone(tmp_path):
    student, teacher = pair()
    before = [value.copy() for value in teacher.get_weights()]
    distiller = compiled(Distiller(student, teacher))
    assert is_graph(distiller)
    assert distiller.layers == student.layers
    assert len(distiller.trainable_weights) == len(student.trainable_weights)
    x, y = data()
    history = distiller.fit(x, y, validation_data=(x, y), verbose=0)
    assert {"distillation_loss", "val_distillation_loss", "val_accuracy"} <= set(history.history)
    for found, wanted in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(distiller.predict(x, verbose=0), student.predict(x, verbose=0))
    distiller.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), student.predict(x, verbose=0))


@pytest.mark.parametrize("freeze", ["never", "quantization"])
def test_the_schedule_runs_under_it_with_the_disentangled_loss(make_network, images, freeze):
    x, y = images
    model = make_network()
    teacher = keras.models.clone_model(model)
    teacher.set_weights(model.get_weights())
    distiller = Distiller(model, teacher)
    compiled(distiller, keras.optimizers.Adam(1e-2))
    bitat = SequentialBinarization(x, Schedule(1, 0, 1, freeze=freeze), verbose=0)
    history = distiller.fit(x, y, batch_size=16, epochs=bitat.total_epochs(distiller), callbacks=[bitat], verbose=0)
    assert [layer.state for layer in binary_layers(model)] == ["binary"] * 3
    assert [layer.state for layer in binary_layers(teacher)] == ["float"] * 3
    assert np.isfinite(history.history["q_rel"]).all()
    assert history.history["distillation_loss"][-1] > 0


REPLICAS = """
import bitat_tf
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
generator = np.random.default_rng(3)
x, y = generator.normal(size=(16, 6)).astype(np.float32), generator.integers(0, 4, 16)
weights = []
for strategy in (tf.distribute.OneDeviceStrategy("CPU:0"), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        student, teacher = (
            tf.keras.Sequential([tf.keras.Input((6,)), tf.keras.layers.Dense(4, kernel_regularizer="l2")]) for _ in range(2)
        )
        teacher.set_weights([np.ones((6, 4)), np.arange(4.0)])
        distiller = bitat_tf.Distiller(student, teacher, 0.7)
        distiller.compile(tf.keras.optimizers.SGD(0.1), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    start = student.get_weights()
    distiller.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(8), epochs=2, verbose=0)
    weights.append(student.get_weights())
assert strategy.num_replicas_in_sync == 2
assert not np.allclose(start[0], weights[0][0], atol=1e-3)
for one, two in zip(*weights):
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
"""


@pytest.mark.slow
def test_two_replicas_train_like_one():
    """Each replica has half of the batch, and its share of every loss; in a process of its own, for the two devices."""
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_the_loss_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        student, teacher = pair()
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = data()
    distiller = compiled(Distiller(student, teacher, 0.5))
    history = distiller.fit(x, y, verbose=0).history
    assert np.isfinite(history["distillation_loss"]).all()
    assert distiller.compute_loss(x, tf.constant(y), student(x)).dtype == tf.float32


def test_wrong_arguments():
    student, teacher = pair()
    for same in (student, keras.Model(student.inputs, student.outputs)):
        with pytest.raises(ValueError, match="must be a model of its own"):
            Distiller(student, same)
    with pytest.raises(ValueError, match=r"the same inputs. Received: \[\(6,\)\] and \[\(5,\)\]"):
        Distiller(student, keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)]))
    one = [keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)]) for _ in range(2)]
    with pytest.raises(ValueError, match="at least two classes. Received: networks of one output"):
        Distiller(*one)
    without = Distiller(student, teacher, weight=0.5)
    without.compile("adam")
    with pytest.raises(ValueError, match="Received: compile without `loss`"):
        without.fit(*data(), verbose=0)
    with pytest.raises(ValueError, match=r"Received: \(None, 4\) and \(None, 5\)"):
        Distiller(student, keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]))
    with pytest.raises(ValueError, match="`weight` must be"):
        Distiller(student, teacher, weight=1.5)
    with pytest.raises(ValueError, match="`temperature` must be"):
        Distiller(student, teacher, temperature=0)
    with pytest.raises(ValueError, match="`outputs` must be"):
        Distiller(student, teacher, outputs="scores")
    with pytest.raises(TypeError, match="Distiller"):
        Distiller("student", teacher)

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    own = Own()
    own(np.zeros((1, 6)))
    for models in ((own, teacher), (student, own)):
        with pytest.raises(ValueError, match="functional or sequential"):
            Distiller(*models)
    outputs = [keras.layers.Dense(4)(student.input), keras.layers.Dense(4)(student.input)]
    with pytest.raises(ValueError, match="one output each"):
        Distiller(keras.Model(student.input, outputs), teacher)
