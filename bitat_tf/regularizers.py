"""The disentangled loss as a Keras regularizer (Eq. 6; its scale-free form is ours)."""

import keras
import numpy as np
from keras import ops

from bitat_tf._disentangled_error import ERRORS, Statistics, weighted_error
from bitat_tf._validation import check_choice, check_number
from bitat_tf.dependency import Metric

__all__ = ["DisentangledRegularizer", "DisentangledState"]

DEFAULT_STRENGTH, DEFAULT_L1 = 1.0, 1e-5
_NAMED = "named"  # in a config: what it says of strength and l1 was said by somebody
_BEFORE = {"strength", "l1", "num_groups", "error", "residual", "cross_layer"}  # all of a config that does not say so


@keras.saving.register_keras_serializable(package="bitat_tf")
class DisentangledState(keras.layers.Layer):
    """The variables of a `DisentangledRegularizer`: statistics that a training step reads, saved with the model.

    They are variables, not attributes, because a traced training step does not see an attribute that a callback changes,
    and because a run must be able to continue from a saved model.

    Args:
        dim: Number d of input dimensions of the kernel.
        units: Number m of output channels.
        num_groups: Number k of groups; the full form where k >= d.
        cross_layer: Whether a sensitivity M of the output channels is held, m x m numbers.
        strength, l1: What lambda and gamma are at first. Default 0.
    """

    def __init__(
        self,
        dim: int,
        units: int,
        num_groups: int = 256,
        cross_layer: bool = False,
        strength: float = 0.0,
        l1: float = 0.0,
        **kwargs,
    ):
        kwargs.setdefault("trainable", False)
        kwargs.setdefault("dtype", "float32")  # statistics, under any policy
        super().__init__(**kwargs)
        self.dim, self.units, self.num_groups, self.cross_layer = dim, units, num_groups, cross_layer
        self._initial = {"strength": strength, "l1": l1}
        size = min(dim, num_groups)

        def add(name, shape, dtype="float32", initializer="zeros"):
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer=initializer, trainable=False)

        self.strength = add("strength", (), initializer=keras.initializers.Constant(strength))
        self.l1 = add("l1", (), initializer=keras.initializers.Constant(l1))
        self.groups = add("groups", (dim,), "int32")
        self.importance = add("importance", (size,))
        self.directions = add("directions", (size, size))
        self.residual = add("residual", ())
        self.reference = add("reference", (dim, units))
        if cross_layer:
            self.sensitivity = add("sensitivity", (units, units), initializer=keras.initializers.Identity())
        self.built = True

    def assign(self, metric: Metric, reference: np.ndarray) -> None:
        """Store statistics: the metric of the layer's input, and w_ref of shape (d, m)."""
        groups = len(metric.importance)
        if (
            metric.groups.shape != (self.dim,)
            or groups > self.num_groups
            or (self.dim <= self.num_groups and groups != self.dim)
        ):
            raise ValueError(
                f"DisentangledRegularizer: statistics must be of d={self.dim} inputs, all of them where "
                f"num_groups={self.num_groups} is not smaller, else in at most that many groups. "
                f"Received: d={len(metric.groups)} in {len(metric.importance)} groups."
            )
        if reference.shape != (self.dim, self.units):
            raise ValueError(
                f"DisentangledRegularizer: the reference must have shape {(self.dim, self.units)}, one column an output "
                f"channel. Received: {reference.shape}."
            )
        if metric.sensitivity is not None and not self.cross_layer:
            raise ValueError(
                "DisentangledRegularizer: it holds no sensitivity of the output channels. Received: a metric with one. Make "
                "the layer with disentangled_regularizer=DisentangledRegularizer(cross_layer=True)."
            )
        unused = self.importance.shape[0] - len(metric.importance)  # groups that k-means left empty
        self.groups.assign(metric.groups)
        self.importance.assign(np.pad(metric.importance, (0, unused)))
        self.directions.assign(np.pad(metric.directions, ((0, unused), (0, unused))))
        self.residual.assign(metric.residual)
        self.reference.assign(reference)
        if self.cross_layer:
            self.sensitivity.assign(np.eye(self.units, dtype="float32") if metric.sensitivity is None else metric.sensitivity)

    def forget(self) -> None:
        """Drop the statistics, so that the loss is inactive."""
        for variable in (self.strength, self.l1, self.groups, self.importance, self.directions, self.residual, self.reference):
            variable.assign(ops.zeros(variable.shape, variable.dtype))
        if self.cross_layer:
            self.sensitivity.assign(np.eye(self.units, dtype="float32"))

    @property
    def metric(self) -> Metric | None:
        """The stored metric; None as long as none was assigned."""
        groups = ops.convert_to_numpy(self.groups)
        used = int(groups.max()) + 1
        importance = ops.convert_to_numpy(self.importance)[:used].astype(float)
        if not importance.any():
            return None
        directions = ops.convert_to_numpy(self.directions)[:used, :used].astype(float)
        sensitivity = ops.convert_to_numpy(self.sensitivity).astype(float) if self.cross_layer else None
        return Metric(groups, importance, directions, float(ops.convert_to_numpy(self.residual)), sensitivity)

    def call(self, inputs):
        """Not a layer of a network: holds variables only."""
        raise TypeError("DisentangledState holds the variables of a regularizer and cannot be called on inputs.")

    def get_config(self):
        """Return the arguments of the constructor."""
        own = {name: getattr(self, name) for name in ("dim", "units", "num_groups", "cross_layer")}
        return {**super().get_config(), **own, **self._initial}


@keras.saving.register_keras_serializable(package="bitat_tf")
class DisentangledRegularizer(keras.regularizers.Regularizer):
    r"""Dependency-weighted quantization error of a kernel: `strength * Q + l1 * sum|w|`.

    With reference weights w_ref, b = sign(w) of the latent kernel w (straight-through gradient), and the centred
    covariance C = V diag(s^2) V^T of the layer's input:

    \[ Q_{ours} = \| \mathrm{diag}(s) V^T (w_{ref} - \alpha b) \|_F^2
       = \mathrm{tr}[(w_{ref} - \alpha b)^T C (w_{ref} - \alpha b)] \]

    which is the expected squared change of the layer's output. For kernels with more than `num_groups` inputs it is
    taken over k groups, `P (w_ref - alpha b)`, plus a residual for errors inside a group. alpha is the best scale of each
    output channel in the metric; the gradient does not pass through it (at the best scale its derivative is zero; under
    `cross_layer` it is held fixed).
    With +-1 inputs every variance is 1, so a diagonal importance says nothing: only the full matrix informs.

    It is inactive until it has statistics: `SequentialBinarization` gives them to the layers of this package; for another
    layer call `set_statistics`. There they belong to this object, not to the layer, so that they are not saved with the model,
    and on JAX a training step that is already traced does not see them change; in the layers of this package it does.

    Args:
        strength: lambda >= 0. The paper publishes 100 without its normalization; with "relative", 1 to 10 is sensible.
            None (default): that of the `Schedule`, and 1 where that names none either, or there is no schedule. A `Schedule`
            that names another one than a layer does is refused.
        l1: gamma >= 0, weight of the l1 norm of the latent kernel. None (default): as `strength`, with 1e-5 (the paper's).
        num_groups: Number k of groups for kernels with more than k inputs. Default 256 (the paper's).
        error: "relative" (Q_rel = Q_ours / tr(w_ref^T C w_ref), in [0, 1], comparable across layers; the default, ours),
            "disentangled" (Q_ours, the paper's) or "original" (Q_orig = ||w_ref - alpha b||^2, Eq. 2, for comparison).
        residual: Whether errors inside a group count. Default True (ours); False is the literal form.
        cross_layer: Whether errors are weighted by how the output of the block that the layer belongs to feels them,
            tr[(w_ref - alpha b)^T C (w_ref - alpha b) M]; not with "original". Costs m x m numbers, and 2 d m^2 operations
            a step while the layer is quantized. Q_rel can then exceed 1. Default False, M = I.

    Raises:
        ValueError: If a value is out of range, or the kernel has fewer than 2 axes.

    Examples:
        >>> layer = keras.layers.Dense(3, kernel_regularizer=DisentangledRegularizer(strength=1.0, l1=0.0))
        >>> layer.build((None, 4))
        >>> metric = Metric.from_covariance(np.eye(4), np.arange(4))
        >>> layer.kernel_regularizer.set_statistics(metric, layer.get_weights()[0])
        >>> bool(layer.losses[0] > 0)
        True
    """

    def __init__(
        self,
        strength: float | None = None,
        l1: float | None = None,
        num_groups: int = 256,
        error: str = "relative",
        residual: bool = True,
        cross_layer: bool = False,
    ):
        for name, value in (("strength", strength), ("l1", l1)):
            if value is not None:
                check_number("DisentangledRegularizer", name, value)
        check_number("DisentangledRegularizer", "num_groups", num_groups, minimum=1)
        check_choice("DisentangledRegularizer", "error", error, ERRORS)
        self.strength = None if strength is None else float(strength)
        self.l1 = None if l1 is None else float(l1)
        self.num_groups = int(num_groups)
        self.error = error
        self.residual = bool(residual)
        self.cross_layer = bool(cross_layer)
        self.state: DisentangledState | None = None

    def build(self, kernel_shape) -> DisentangledState:
        """Create the variables for a kernel of shape (..., m); the second call returns the same ones."""
        shape = tuple(int(size) for size in kernel_shape)
        if len(shape) < 2:
            raise ValueError(f"DisentangledRegularizer: a kernel needs at least 2 axes. Received: shape {shape}.")
        dim, units = int(np.prod(shape[:-1])), shape[-1]
        if self.state is None:
            strength = DEFAULT_STRENGTH if self.strength is None else self.strength
            l1 = DEFAULT_L1 if self.l1 is None else self.l1
            self.state = DisentangledState(dim, units, self.num_groups, self.cross_layer, strength, l1)
        elif (self.state.dim, self.state.units) != (dim, units):
            raise ValueError(
                "DisentangledRegularizer: one object serves one kernel, since it holds that layer's statistics. Received: a "
                f"kernel of shape {shape} after one of {self.state.dim} inputs and {self.state.units} outputs. "
                "Give every layer a regularizer of its own."
            )
        return self.state

    def set_statistics(self, metric: Metric, reference: np.ndarray) -> None:
        """Give the metric of the layer's input and w_ref, as a kernel of shape (..., m)."""
        reference = np.asarray(reference)
        self.build(reference.shape).assign(metric, reference.reshape(-1, reference.shape[-1]))

    def __call__(self, kernel):
        """Return the loss of a latent kernel of shape (..., m), a float32 scalar."""
        state = self.build(kernel.shape)
        kernel = ops.reshape(ops.cast(kernel, "float32"), (state.dim, state.units))
        sensitivity = state.sensitivity if self.cross_layer else None
        statistics = Statistics(state.importance, state.directions, state.groups, state.residual, state.reference, sensitivity)
        error = weighted_error(self.error, state.dim > state.num_groups, self.residual)
        l1 = ops.where(ops.any(state.importance > 0), ops.cast(state.l1, "float32"), 0.0)
        return error(kernel, state.strength, statistics) + l1 * ops.sum(ops.abs(kernel))

    def get_config(self):
        """Return the arguments of the constructor, and that those of them that are not None count."""
        return {
            "strength": self.strength,
            "l1": self.l1,
            "num_groups": self.num_groups,
            "error": self.error,
            "residual": self.residual,
            "cross_layer": self.cross_layer,
            _NAMED: True,
        }

    @classmethod
    def from_config(cls, config):
        """Return a regularizer of what `get_config` gave.

        In files from before a layer's own values counted, the defaults stand as if they had been named: there the schedule's
        hold, as they did.
        """
        values = {name: value for name, value in config.items() if name != _NAMED}
        return cls(**{**values, "strength": None, "l1": None} if set(config) == _BEFORE else values)
