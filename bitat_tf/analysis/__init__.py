"""Looking into networks while they become binary, and the experiments of the paper's appendix as functions.

What is measured comes as a `ResultTable`, which a `plot_...` draws.

| module | what it holds |
|---|---|
| `noise` | accuracy under noise along principal directions (7.3, Fig. 3) |
| `gap` | Q_orig and Q_ours between a float network and binary ones (7.4, Fig. 8 left) |
| `ratio` | r = Q_ours / Q_orig over training (7.4, Fig. 8 right) |
| `spectrum` | spectra of the inputs' covariances and of s |
| `flip_rates` | how many signs of binary weights change |
| `histograms` | latent weights; what reaches the signs |
| `agreement` | how much of the float layers' outputs the binary ones keep |
| `kernel_layers` | the layers of any network that are dense layers on patches, and what goes into them |
| `result_table` | rows with names |
| `checked` | checks that they share |
"""

from bitat_tf.analysis.agreement import layer_agreement, plot_layer_agreement
from bitat_tf.analysis.flip_rates import SignFlipMonitor, plot_sign_flips, sign_flips
from bitat_tf.analysis.gap import FloatReference, GapMonitor, plot_quantization_gap, quantization_gap
from bitat_tf.analysis.histograms import activation_histograms, plot_histograms, weight_histograms
from bitat_tf.analysis.noise import confidence_bands, noise_sensitivity, plot_noise_sensitivity
from bitat_tf.analysis.ratio import plot_q_ratio, q_ratio_curve
from bitat_tf.analysis.result_table import ResultTable
from bitat_tf.analysis.spectrum import effective_ranks, plot_spectra, spectra

__all__ = [
    "FloatReference",
    "GapMonitor",
    "ResultTable",
    "SignFlipMonitor",
    "activation_histograms",
    "confidence_bands",
    "effective_ranks",
    "layer_agreement",
    "noise_sensitivity",
    "plot_histograms",
    "plot_layer_agreement",
    "plot_noise_sensitivity",
    "plot_q_ratio",
    "plot_quantization_gap",
    "plot_sign_flips",
    "plot_spectra",
    "q_ratio_curve",
    "quantization_gap",
    "sign_flips",
    "spectra",
    "weight_histograms",
]
