"""Training with a float teacher beside the labels, or in their place."""

from collections.abc import Callable

import keras
from keras import ops

from bitat_tf._validation import check_choice, check_model, check_number
from bitat_tf.model_graph import functional_of, is_graph

__all__ = ["Distiller", "distillation_loss"]

_OUTPUTS = ("logits", "probabilities")


def distillation_loss(teacher, student, temperature: float = 1.0, outputs: str = "logits"):
    r"""Divergence of a student's class probabilities from a teacher's.

    \[ L = T^2 \, \mathrm{KL}(p \| q) = T^2 \sum_c p_c \log(p_c / q_c), \qquad
       p = \mathrm{softmax}(t / T), \quad q = \mathrm{softmax}(s / T) \]

    With T = 1 its gradient is that of ReActNet's distributional loss.

    Args:
        teacher: t, shape (n, classes).
        student: s, shape (n, classes).
        temperature: T > 0. Default 1.
        outputs: What both are: "logits" (default) or "probabilities", whose logarithms are logits.

    Returns:
        A float32 tensor of shape (n,), in nats.

    Examples:
        >>> np.asarray(distillation_loss(np.array([[1.0, 2.0]]), np.array([[2.0, 3.0]]))).round(6) + 0.0
        array([0.], dtype=float32)

    References:
        - [Distilling the Knowledge in a Neural Network](https://arxiv.org/abs/1503.02531)
        - [ReActNet](https://arxiv.org/abs/2003.03488), section 4.3
    """
    check_choice("distillation_loss", "outputs", outputs, _OUTPUTS)
    check_number("distillation_loss", "temperature", temperature, exclusive=True)
    teacher, student = (ops.cast(values, "float32") for values in (teacher, student))
    if outputs == "probabilities":
        teacher, student = (ops.log(ops.maximum(values, keras.config.epsilon())) for values in (teacher, student))
    p = ops.log_softmax(teacher / temperature)
    q = ops.log_softmax(student / temperature)
    return temperature**2 * ops.sum(ops.exp(p) * (p - q), axis=-1)


class Distiller(keras.Model):
    """A network that learns from a float teacher, under plain `fit` and with every callback.

    It is the student itself under another training step: the same layers, inputs and outputs. The loss becomes

        (1 - weight) * task loss + weight * distillation_loss(teacher, student) + regularization losses,

    the disentangled loss among the latter; `loss` and `distillation_loss` in the logs are these. At weight 1 neither a loss in
    `compile` nor the values of the labels matter. Check and export the student, which the training changes and which `save`
    saves; the teacher is no part of the model, is not changed and not saved.

    Args:
        student: A functional or sequential model with one output of shape (n, classes).
        teacher: A model of the same inputs and output shape; run with `training=False`.
        weight: Share of the distillation loss, from 0 to 1. Default 1: labels are not used, as in ReActNet.
        temperature: T > 0 of `distillation_loss`. Default 1.
        outputs: What both networks give: "logits" (default) or "probabilities".

    Raises:
        TypeError: If a model is no Keras model.
        ValueError: If a model is neither functional nor sequential, shapes differ, both share weights, there is one output
            only, or a value is out of range; in `fit`, if the weight is below 1 and `compile` got no loss.

    Examples:
        >>> student = keras.Sequential([keras.Input((4,)), bitat_tf.layers.BinaryDense(8), keras.layers.Dense(3)])
        >>> teacher = keras.models.clone_model(student)
        >>> distiller = Distiller(student, teacher)
        >>> distiller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.random.rand(32, 4).astype("float32"), np.random.randint(0, 3, 32)
        >>> history = distiller.fit(x, y, verbose=0)
        >>> sorted(history.history)
        ['distillation_loss', 'loss']

    References:
        - [ReActNet](https://arxiv.org/abs/2003.03488), section 4.3
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        weight: float = 1.0,
        temperature: float = 1.0,
        outputs: str = "logits",
    ):
        check_model(student, "Distiller")
        check_model(teacher, "Distiller")
        check_number("Distiller", "weight", weight, maximum=1.0)
        check_number("Distiller", "temperature", temperature, exclusive=True)
        check_choice("Distiller", "outputs", outputs, _OUTPUTS)
        _check_pair(student, teacher)
        inner = functional_of(student)
        super().__init__(inputs=inner.input, outputs=inner.output, name=student.name)
        self._weight, self._temperature, self._outputs_are = float(weight), float(temperature), outputs
        # Functions, not models: as an attribute the teacher's layers would be layers of this model.
        self._teach: Callable = lambda x: teacher(x, training=False)
        self._save_student: Callable = student.save
        self._divergence = keras.metrics.Mean(name="distillation_loss")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of a training step."""
        divergence = distillation_loss(self._teach(x), y_pred, self._temperature, self._outputs_are)
        if sample_weight is not None:
            divergence *= ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        # Of several replicas each has its share of a loss that is not Keras' own, as it sums their gradients.
        share = self._aggregate_additional_loss
        loss = self._weight * share(ops.mean(divergence))
        if self._weight < 1:  # at 1 labels that are missing or wrong must not matter
            if not self.loss:
                raise ValueError(
                    "Distiller: below a weight of 1 the task loss counts as well. Received: compile without `loss`. Compile "
                    "with one, as in loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), or use weight=1."
                )
            loss += (1 - self._weight) * ops.cast(self._compile_loss(y, y_pred, sample_weight), "float32")
        for value in self.losses:
            loss += share(ops.cast(value, "float32"))
        self._divergence.update_state(divergence)
        return loss

    def save(self, *arguments, **options):
        """Save the student, as `keras.Model.save` does; so do callbacks like `ModelCheckpoint`."""
        return self._save_student(*arguments, **options)


def _check_pair(student: keras.Model, teacher: keras.Model) -> None:
    """Raise ValueError where the outputs of the two cannot be compared."""
    for name, model in (("student", student), ("teacher", teacher)):
        if not is_graph(model):
            raise ValueError(
                f"Distiller: the {name} must be a functional or sequential model. Received: a {type(model).__name__}. Build it "
                "with keras.Model(inputs, outputs)."
            )
    if {id(variable) for variable in student.weights} & {id(variable) for variable in teacher.weights}:
        raise ValueError(
            "Distiller: the teacher must be a model of its own. Received: one that shares weights with the student. Make a "
            "float copy before it becomes binary: teacher = keras.models.clone_model(student); "
            "teacher.set_weights(student.get_weights())."
        )
    shapes = [model.output_shape for model in (student, teacher)]
    if any(not isinstance(shape, tuple) or len(shape) != 2 for shape in shapes) or shapes[0][-1] != shapes[1][-1]:
        raise ValueError(
            "Distiller: student and teacher must have one output each, of shape (n, classes) with as many classes. Received: "
            f"{shapes[0]} and {shapes[1]}."
        )
    if shapes[0][-1] < 2:
        raise ValueError(
            "Distiller: it compares the probabilities of at least two classes. Received: networks of one output. Use a Dense "
            "layer with an output for each class."
        )
    inputs = [[tuple(tensor.shape[1:]) for tensor in model.inputs] for model in (student, teacher)]
    if inputs[0] != inputs[1]:
        raise ValueError(f"Distiller: student and teacher must take the same inputs. Received: {inputs[0]} and {inputs[1]}.")
