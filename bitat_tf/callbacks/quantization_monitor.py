"""The errors of a network whose layers are all made binary at once."""

from typing import Any

import keras

from bitat_tf._validation import check_model
from bitat_tf.calibration import Calibration, LayerInputs, NetworkTrace, layer_statistics
from bitat_tf.calibration.statistics import check_statistics_possible
from bitat_tf.callbacks.error_log import error_logs, layer_errors, layer_rows
from bitat_tf.layers import required_binary_layers


class QuantizationMonitor(keras.callbacks.Callback):
    """Logs Q_orig, Q_ours, Q_rel and their ratio for a run without a schedule, as in Fig. 8 of the paper.

    At the start of `fit` it measures, for every binary layer, the statistics of its input in the float network (all binary
    layers are set to float for that moment), and takes the latent kernel as reference. It changes no weights. A layer whose
    `disentangled_regularizer` has a strength above 0 trains with these statistics.

    Args:
        calibration: As in `SequentialBinarization`.
        seed: Seed of the grouping of input dimensions.

    Raises:
        ValueError: In `fit`, if the model has no binary layers or the calibration data are unusable.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), bitat_tf.layers.BinaryDense(8), keras.layers.Dense(2)])
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> model.compile("adam", "mse")
        >>> x = np.random.randn(32, 4).astype("float32")
        >>> history = model.fit(x, x[:, :2], callbacks=[QuantizationMonitor(x)], verbose=0)
        >>> sorted(key for key in history.history if key.startswith("q_"))
        ['q_orig', 'q_ours', 'q_ratio', 'q_rel']
    """

    def __init__(self, calibration: Any, seed: int = 0):
        super().__init__()
        self.calibration = calibration
        self.seed = seed
        self.layer_history: list[dict[str, Any]] = []

    def on_train_begin(self, logs=None):
        """Measure the statistics of every binary layer in the float network."""
        check_model(self.model, "QuantizationMonitor")
        self._layers = required_binary_layers("QuantizationMonitor", self.model)
        check_statistics_possible("QuantizationMonitor", self._layers)
        self.layer_history = []
        calibration = Calibration(self.calibration, self.model, "QuantizationMonitor")
        flags = [(layer, bool(layer.input_is_binary.numpy()), bool(layer.kernel_is_binary.numpy())) for layer in self._layers]
        try:
            for layer in self._layers:
                layer.set_binary(False, False)
            trace = NetworkTrace(self.model, self._layers)
            for layer in self._layers:
                inputs = LayerInputs(self.model, layer, calibration, trace=trace)
                statistics = layer_statistics(layer, inputs, retargeted=False, seed=self.seed)
                layer.disentangled_state.assign(statistics.metric, statistics.reference)
        finally:
            for layer, input_is_binary, kernel_is_binary in flags:
                layer.set_binary(input_is_binary, kernel_is_binary)

    def on_epoch_end(self, epoch, logs=None):
        """Write the errors into `logs`."""
        errors = layer_errors(self._layers)
        self.layer_history.extend(layer_rows(epoch, errors))
        if logs is not None:
            logs.update(error_logs(errors))
