"""Binarization without training: closed forms from bottom to top."""

import contextlib
import warnings
from typing import Any, cast

import keras
import numpy as np
from rich.markup import escape

from bitat_tf._console import LiveLine
from bitat_tf._printable import message
from bitat_tf._validation import check_choice, check_model
from bitat_tf.calibration import Calibration, layer_statistics
from bitat_tf.calibration.statistics import channel_means, check_memory, check_statistics_possible, float_outputs
from bitat_tf.dependency import Curvature, flip_descent, latent_weights, scale_from_products
from bitat_tf.dependency.moments import MEMORY_LIMIT
from bitat_tf.layers import BinaryLayer, required_binary_layers
from bitat_tf.model_graph import is_graph, layer_uses, rebuilt
from bitat_tf.post_training.propagation import Flow, check_activations, propagate
from bitat_tf.quantizers import MagnitudeAwareSign, RSign

_NAME = "binarize_post_training"
_PROGRESS = "post-training binarization"


def binarize_post_training(
    model: keras.Model,
    calibration: Any,
    batch_normalization: str = "mean",
    seed: int = 0,
    verbose: int = 1,
    memory_limit: int = MEMORY_LIMIT,
) -> keras.Model:
    """Make a float network binary without training, from a few hundred inputs, in one pass from bottom to top.

    For each binary layer, with everything below it binary already:

    1. the thresholds of RSign become the negative channel means of the layer's input;
    2. re-target: w_ref = (H + eps I)^-1 E[x_b z^T], the weights that predict the float network's output z of this layer from
       the binary input x_b best;
    3. flips: b starts as sign(w_ref), and signs are flipped as long as that lowers Q_ours = tr[(w_ref - alpha b)^T H
       (w_ref - alpha b)];
    4. alpha, and the bias if the layer has one, are the best ones.

    The statistics of every batch normalization above a binary layer are estimated anew. It does not replace
    `SequentialBinarization`: deep networks lose much (the README has figures).

    Args:
        model: A float functional or sequential model with `BinaryConv2D` or `BinaryDense` layers, nested models included. It is
            not changed.
        calibration: Training inputs, prepared as for `fit`: an array of shape (n, ...), or a finite, batched tf.data.Dataset.
            The more the better, 2,000 rather than 500. What runs through the network at one place is held in memory for all
            of them, in both networks; from 4 GiB on a warning says how much that is.
        batch_normalization: What is estimated anew: "mean" (default), or "mean_and_variance". With the best scale a binary
            layer's output has less variance than the float one's, by what it cannot explain; the new variance would scale
            it up, errors included.
        seed: Seed of the grouping in the metric that the layers keep for their errors.
        verbose: 1 (default) shows a progress bar, 0 nothing.
        memory_limit: Bytes that the statistics of one layer may take. Default 4 GiB, which is a covariance of 13,000 inputs.

    Returns:
        A new model with all binary layers in binary state, compiled as `model` is. Its layers hold w_ref and their metric:
        `layer.quantization_errors()`. It can be trained further and exported.

    Raises:
        TypeError: If `model` is no Keras model, or the data are neither an array nor a dataset.
        ValueError: If the model has no binary layers, layers that are binary already or whose kernel quantizer has no scale, or
            a binary layer, or a batch normalization above one, that is used several times; if it is neither functional nor
            sequential; or if the data are unusable.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 4, width=0.25, blocks=((64, 1),))
        >>> binary = binarize_post_training(model, np.random.rand(64, 8, 8, 1).astype("float32"), verbose=0)
        >>> [layer.state for layer in bitat_tf.layers.binary_layers(binary)]
        ['binary', 'binary']
    """
    check_choice(_NAME, "batch_normalization", batch_normalization, ("mean", "mean_and_variance"))
    layers = _checked_layers(model)
    batches = _input_batches(model, Calibration(calibration, model, _NAME))
    samples = sum(len(batch) for batch in batches[0])
    check_memory(_NAME, model, layers, samples, "Pass fewer calibration inputs, or a larger `memory_limit`.", memory_limit)
    check_activations(_NAME, model, samples)
    binary = _copy(model)
    uses = layer_uses(model)
    names = [layer.name for layer in layers]
    with contextlib.closing(LiveLine(len(names), _PROGRESS, transient=True, shown=bool(verbose))) as line:

        def visit(layer: keras.layers.Layer, float_layer: keras.layers.Layer, flow: Flow) -> None:
            if isinstance(layer, BinaryLayer):
                line.update(names.index(layer.name), f"{_PROGRESS}: {escape(message(layer.name))}")
                binarize_layer(layer, float_layer, flow, seed, memory_limit)
            elif isinstance(layer, keras.layers.BatchNormalization) and flow.changed:
                if uses[layer.name] > 1:
                    raise ValueError(
                        f"{_NAME}: a batch normalization above a binary layer must be used once. Received: {layer.name!r}, "
                        f"used {uses[layer.name]} times. Give every branch its own, or train the model with "
                        "SequentialBinarization."
                    )
                estimate_batch_normalization(layer, flow.current, batch_normalization == "mean_and_variance")

        propagate(binary, model, [Flow(flow, flow) for flow in batches], visit)
    return binary


def binarize_layer(layer: BinaryLayer, float_layer: BinaryLayer, flow: Flow, seed: int, memory_limit: int) -> None:
    """Make one layer binary: thresholds, reference weights, signs, scales and bias from closed forms.

    Args:
        layer: The layer, in float state.
        float_layer: Its counterpart in the float network, which tells what the output should be.
        flow: What reaches both.
        seed: Seed of the grouping.
        memory_limit: Bytes that the covariance may take.
    """
    if isinstance(layer.input_quantizer, RSign):
        layer.input_quantizer.threshold.assign(-channel_means(flow.current))
    targets = (float_outputs(float_layer, batch) for batch in flow.real)
    statistics = layer_statistics(layer, flow.current, True, seed, targets, memory_limit)
    reference, curvature = statistics.reference, cast(Curvature, statistics.curvature)
    binary = flip_descent(np.where(reference >= 0, 1.0, -1.0), reference, curvature)
    seen = curvature.times(binary)
    scale = scale_from_products(np.sum(reference * seen, axis=0), np.sum(binary * seen, axis=0))
    layer.disentangled_state.assign(statistics.metric, reference)
    layer.set_latent_kernel(latent_weights(reference, binary, scale))
    if layer.use_bias:
        deployed = np.abs(layer.latent_kernel_matrix).mean(axis=0) * binary
        layer.bias.assign(float_layer.bias.numpy() + statistics.target_mean - statistics.mean @ deployed)
    layer.set_binary()


def estimate_batch_normalization(layer: keras.layers.BatchNormalization, inputs: list[np.ndarray], variance: bool) -> None:
    """Set the moving mean of a batch normalization, and its variance if wanted, to those of its inputs over all batches."""
    channel_axes = {axis % inputs[0].ndim for axis in np.atleast_1d(layer.axis)}
    axes = tuple(axis for axis in range(inputs[0].ndim) if axis not in channel_axes)
    count = sum(int(np.prod(batch.shape)) for batch in inputs) / int(np.prod(layer.moving_mean.shape))
    mean = sum(batch.sum(axis=axes, keepdims=True, dtype=float) for batch in inputs) / count
    layer.moving_mean.assign(mean.reshape(layer.moving_mean.shape))
    if variance:
        squares = sum(np.square(batch - mean).sum(axis=axes) for batch in inputs) / count
        layer.moving_variance.assign(squares.reshape(layer.moving_variance.shape))


def _checked_layers(model: keras.Model) -> list[BinaryLayer]:
    check_model(model, _NAME)
    if not is_graph(model):
        raise ValueError(
            f"{_NAME}: the model must be functional or sequential. Received: a {type(model).__name__}. Build it with "
            "keras.Model(inputs, outputs), or train it with SequentialBinarization."
        )
    layers = required_binary_layers(_NAME, model)
    check_statistics_possible(_NAME, layers)
    started = [layer.name for layer in layers if layer.state != "float"]
    if started:
        raise ValueError(
            f"{_NAME}: it starts from a float network. Received: {len(started)} of {len(layers)} layers that are binary "
            f"already: {', '.join(started[:5])}{', ...' if len(started) > 5 else ''}. Load the float network."
        )
    unscaled = [layer.name for layer in layers if not isinstance(layer.kernel_quantizer, MagnitudeAwareSign)]
    if unscaled:
        raise ValueError(
            f"{_NAME}: it solves for a scale of every output channel, which only kernel_quantizer='magnitude_aware_sign' has. "
            f"Received: layers with another quantizer: {', '.join(unscaled)}."
        )
    uses = layer_uses(model)
    for number, reason in ((0, "stand in a layer that is no functional model"), (2, "are used several times")):
        odd = sorted(layer.name for layer in layers if min(uses[layer.name], 2) == number)
        if odd:
            raise ValueError(
                f"{_NAME}: every binary layer must be used once in the functional model or a nested one, under a name of its "
                f"own. Received: layers that {reason}: {', '.join(odd)}. Train the model with SequentialBinarization."
            )
    return layers


def _copy(model: keras.Model) -> keras.Model:
    """Return a model of the same weights, compiled in the same way where Keras can copy that."""
    copy = rebuilt(model)
    if getattr(model, "optimizer", None) is not None:
        try:
            copy.compile_from_config(model.get_compile_config())
        except (TypeError, ValueError, OSError, NotImplementedError) as error:  # a loss or metric of the user's own
            message = f"{_NAME}: the new model is not compiled, since Keras cannot copy how `model` is ({error})."
            warnings.warn(message, stacklevel=3)
    return copy


def _input_batches(model: keras.Model, calibration: Calibration) -> list[list[np.ndarray]]:
    """Return the batches of each input of the model."""
    batches, names = [], [tensor.name for tensor in model.inputs]
    for batch in calibration:
        if isinstance(batch, dict):
            missing = [name for name in names if name not in batch]
            if missing:
                raise ValueError(f"{_NAME}: the calibration data lack the inputs {missing}. Received: {sorted(batch)}.")
            batch = [batch[name] for name in names]
        parts = keras.tree.flatten(batch)
        if len(parts) != len(model.inputs):
            raise ValueError(
                f"{_NAME}: the model has {len(model.inputs)} inputs. Received: calibration data of {len(parts)} each. Pass a "
                "tf.data.Dataset of tuples of inputs (with labels: of ((first, second), labels)), or of dicts by input name."
            )
        # As Keras does it: integers become what the input takes.
        batches.append([np.asarray(part).astype(tensor.dtype) for part, tensor in zip(parts, model.inputs, strict=True)])
    return [list(parts) for parts in zip(*batches, strict=True)]
