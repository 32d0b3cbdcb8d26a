"""The network with fake quantization of what is not binary."""

from typing import Any

import numpy as np

from bitat_tf._keras import keras
from bitat_tf._validation import check_choice, check_model
from bitat_tf.export.folding import fold
from bitat_tf.export.int8.apart import taken_apart
from bitat_tf.export.int8.layers import INPUT_TYPES, LEVELS, FakeQuantization, FakeQuantizedSign
from bitat_tf.export.int8.placement import quantized_calls
from bitat_tf.export.int8.ranges import channel_ranges, range_with_zero
from bitat_tf.export.plain import to_plain_larq
from bitat_tf.export.request import check_sizes, verification_data
from bitat_tf.model_graph import CallGraph, LayerCall, call_again, call_all, float32_policy, free_name, make_names_unique
from bitat_tf.quantizers import RSign

# Ranges that TFLite's int8 operators have by definition.
_FIXED_RANGES = {
    keras.activations.softmax: (0.0, LEVELS / 256),
    keras.activations.sigmoid: (0.0, LEVELS / 256),
    keras.activations.tanh: (-1.0, 127 / 128),
}

_LARGEST_SCALED = 2.0  # of what is not pixels 0..255


def quantize_rest(model: keras.Model, data: np.ndarray, input_type: str = "float32") -> keras.Model:
    """Return a copy of a binarized model in which everything that is not binary is rounded as int8 will be on the device.

    The copy is a plain Larq network, folded (`fold`), with a `FakeQuantization` behind every tensor that the device writes.
    Their ranges are the smallest and largest values on `data`. `to_tflite` writes it as a file whose first and last layer,
    shortcuts, activations and thresholds are int8.

    The copy can be trained before that, an epoch with a small learning rate: ranges, thresholds and float layers adapt.
    Batch normalizations are frozen, as their statistics are part of the kernels on the device.

    Args:
        model: A functional or sequential model, binarized, with one input of known size and one output.
        data: Inputs as for training, shape (n, ...): some hundred, not those that the accuracy is measured on.
        input_type: What the file takes. "float32": what the model takes. "uint8": the bytes of a picture as they are, if the
            model takes pixels 0..255 (also through a `Rescaling` of one scale, which vanishes), "int8": the same less 128; for
            other models, values on a grid whose scale and zero point stand in the file.

    Returns:
        A new model with the inputs and outputs of `model`.

    Raises:
        ValueError: If the model is not fully binarized, has several inputs or outputs, a layer of several outputs, or the
            data do not fit or are not finite.
        TypeError: If it is no Keras 2 model.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> pixels = np.random.default_rng(0).uniform(0, 255, (64, 8, 8, 1)).astype(np.float32)
        >>> quantized = quantize_rest(model, pixels, input_type="uint8")
        >>> bitat_tf.export.to_tflite(quantized, os.path.join(folder, "int8.tflite"), pixels).operators["CONV_2D"]
        1
    """
    check_model(model, "quantize_rest")
    check_choice("quantize_rest", "input_type", input_type, INPUT_TYPES)
    check_sizes("quantize_rest", model)
    if data is None:
        raise ValueError("quantize_rest: the ranges are measured on `data`. Received: None. Pass some hundred training inputs.")
    data, _ = verification_data("quantize_rest", model, data, None)
    with float32_policy():
        return _Quantization(fold(to_plain_larq(model)), data, input_type).model()


class _Quantization:
    """Calls the layers of a folded network once more, with fake quantization between them."""

    def __init__(self, network: keras.Model, data: np.ndarray, input_type: str):
        nested = CallGraph(network)
        several = [call.path for call in nested.calls if len(call.output_shapes) != 1]
        if several:
            raise ValueError(
                f"quantize_rest: layers of several outputs cannot be quantized. Received: {', '.join(several)}. Export with "
                "the float rest, or use layers of one output each."
            )
        make_names_unique(nested)
        self.graph = CallGraph(taken_apart(network))
        self.name = network.name
        self.input_type = input_type
        self.quantized = {id(call) for call in quantized_calls(self.graph)}
        self.source = self.graph.sources[0]
        self.pixels = _are_pixels(data)
        self.rescaling = self._droppable_rescaling()
        self.ranges = self._measure(data)
        self.names: set[str] = set()
        self.alike = self._one_grid_around_concatenations()
        self.grids: dict[int, FakeQuantization] = {}  # by id of the call

    def model(self) -> keras.Model:
        """Return the network with fake quantization."""
        inputs = keras.Input(self.source.output_shapes[0][1:], name=self.source.layer.name)
        tensors = {id(self.source): self._quantize_input(inputs)}
        for call in self.graph.calls:
            if call is self.rescaling:
                tensors[id(call)] = self._quantized_rescaling()(tensors[id(self.source)])
                continue
            self._quantize_sign(call)
            tensors[id(call)] = self._quantized_outputs(call, tensors)
        model = keras.Model(inputs, tensors[id(self.graph.outputs[0])], name=self.name)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        return model

    def _quantized_outputs(self, call: LayerCall, tensors: dict[int, Any]) -> Any:
        outputs = call_again(call, tensors)
        if id(call) not in self.quantized:
            return outputs
        alike = self.alike[id(call)]
        grid = next((self.grids[id(one)] for one in alike if id(one) in self.grids), None)
        if grid is None:
            ranges = [self._range(one) for one in alike]
            minimum, maximum = min(low for low, _ in ranges), max(high for _, high in ranges)
            grid = FakeQuantization(
                minimum, maximum, _fixed_range(call) is not None, name=free_name(f"{call.layer.name}_int8", self.names)
            )
        self.grids[id(call)] = grid
        return grid(outputs)

    def _one_grid_around_concatenations(self) -> dict[int, list[LayerCall]]:
        """Return for each quantized call those that share its grid.

        What a concatenation takes and gives must have one grid, also after a training: of nearly equal ones the converter
        makes a file that it refuses itself.
        """
        alike = {id(call): [call] for call in self.graph.calls if id(call) in self.quantized}
        for call in self.graph.calls:
            if type(call.layer) is not keras.layers.Concatenate or id(call) not in alike:
                continue
            for one in call.inputs:
                if id(one) in alike and _fixed_range(one) is None and alike[id(one)] is not alike[id(call)]:
                    together = alike[id(call)] + alike[id(one)]
                    alike.update({id(member): together for member in together})
        return alike

    def _measure(self, data: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        inputs = keras.Input(self.source.output_shapes[0][1:])
        tensors = call_all(self.graph, {id(self.source): inputs})
        found = channel_ranges(inputs, list(tensors.values()), data)
        return dict(zip(tensors, found, strict=True))

    def _range(self, call: LayerCall) -> tuple[float, float]:
        return _fixed_range(call) or range_with_zero(*self.ranges[id(call)])

    def _droppable_rescaling(self) -> LayerCall | None:
        """Return the call of a `Rescaling` by one number that alone reads pixels: for it, a grid of bytes is exact."""
        consumers = self.graph.consumers(self.source)
        if len(consumers) != 1 or type(consumers[0].layer) is not keras.layers.Rescaling or not self.pixels:
            return None
        layer = consumers[0].layer
        if not np.size(layer.scale) == np.size(layer.offset) == 1:
            return None
        scale, offset = float(np.squeeze(layer.scale)), float(np.squeeze(layer.offset))
        return consumers[0] if scale > 0 and 0 <= -offset / scale <= LEVELS else None  # 0 must lie on the grid

    def _quantized_rescaling(self):
        """Return rescaling and grid together: 0 must be on the grid, so that the offset moves by up to half a byte."""
        layer = self.rescaling.layer
        scale, offset = float(np.squeeze(layer.scale)), float(np.squeeze(layer.offset))
        zero = round(-offset / scale)
        moved = keras.layers.Rescaling(scale, -zero * scale, name=layer.name)
        grid = FakeQuantization(
            -zero * scale,
            (LEVELS - zero) * scale,
            fixed=True,
            input_type=self.input_type,
            name=free_name(f"{layer.name}_int8", self.names),
        )
        return lambda inputs: grid(moved(inputs))

    def _quantize_input(self, inputs):
        first = [call.layer for call in self.graph.consumers(self.source)]
        if self.rescaling is not None or (self.input_type == "float32" and _only_rescaling(first)):
            return inputs
        minimum, maximum = range_with_zero(*self.ranges[id(self.source)])
        if self.pixels:  # all of their values, whatever the data held
            minimum, maximum = 0.0, float(LEVELS)
        name = free_name(f"{self.source.layer.name}_int8", self.names)
        return FakeQuantization(minimum, maximum, fixed=True, input_type=self.input_type, name=name)(inputs)

    def _quantize_sign(self, call: LayerCall) -> None:
        quantizer = getattr(call.layer, "input_quantizer", None)
        if type(quantizer) is not RSign:
            return
        threshold = quantizer.threshold.numpy()
        calls = [one for one in self.graph.calls if one.layer is call.layer]
        steps = [np.ptp(range_with_zero(*self.ranges[id(one.inputs[0])])) / LEVELS for one in calls]
        # Half the step of what comes in: finer would hold no more, and coarser round small values to 0, whose sign is +1.
        sign = FakeQuantizedSign(step=float(min(steps)) / 2, name=quantizer.name)
        sign.build((None, len(threshold)))
        sign.threshold.assign(threshold)
        call.layer.input_quantizer = sign


def _fixed_range(call: LayerCall) -> tuple[float, float] | None:
    if type(call.layer) is keras.layers.Softmax:
        return _FIXED_RANGES[keras.activations.softmax]
    return _FIXED_RANGES.get(getattr(call.layer, "activation", None))


def _are_pixels(data: np.ndarray) -> bool:
    """Return whether data are pixels 0..255: whole numbers, or beyond half of that; and not 0..1."""
    if data.min() < 0 or not _LARGEST_SCALED < data.max() <= LEVELS:
        return False
    return bool(data.max() > LEVELS / 2 or (data == np.rint(data)).all())


def _only_rescaling(layers: list[keras.layers.Layer]) -> bool:
    return all(type(layer) is keras.layers.Rescaling for layer in layers)


def without_rescaling(model: keras.Model) -> tuple[keras.Model, bool]:
    """Return the network that takes the values of its input's grid, and whether these are bytes of pixels.

    Of a model that is to take integers, the `Rescaling` before the first `FakeQuantization` vanishes: the grid takes its place.
    """
    grid = input_grid(model)
    if grid is None or grid.input_type == "float32":
        return model, False
    graph = CallGraph(model)
    first = graph.consumers(graph.sources[0])
    if len(first) != 1 or type(first[0].layer) is not keras.layers.Rescaling:
        return model, grid.initial_range == (0.0, float(LEVELS))
    inputs = keras.Input(model.input_shape[1:], name=model.input_names[0])
    tensors = call_all(graph, {id(first[0]): inputs})
    with float32_policy():
        return keras.Model(inputs, tensors[id(graph.outputs[0])], name=model.name), True


def input_grid(model: keras.Model) -> FakeQuantization | None:
    """Return the fake quantization of a model's input, None if there is none."""
    return next((layer for layer in model.layers if isinstance(layer, FakeQuantization)), None)
