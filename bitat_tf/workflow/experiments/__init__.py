"""The experiments of the paper's appendix on data of one's own, as `bitat-tf experiment` runs them.

| module | what it holds |
|---|---|
| `settings` | the settings of both |
| `folder` | their files |
| `experiment` | what they share: the data, the float network |
| `cross_layer` | noise along principal directions (7.3, Fig. 3) |
| `gap`, `gap_report` | Q_orig and Q_ours of ReActNet's training and BiTAT's (7.4, Fig. 8) |
"""

from typing import TYPE_CHECKING

from bitat_tf._lazy import lazy_attributes

if TYPE_CHECKING:  # for editors and type checkers, which do not run what follows
    from bitat_tf.workflow.experiments.cross_layer import CrossLayerExperiment
    from bitat_tf.workflow.experiments.experiment import Experiment
    from bitat_tf.workflow.experiments.folder import ExperimentFolder
    from bitat_tf.workflow.experiments.gap import GapExperiment
    from bitat_tf.workflow.experiments.settings import CrossLayerSettings, ExperimentSettings, GapSettings

# The settings and the folder are there without Keras: what is wrong with options is said at once.
__getattr__ = lazy_attributes(
    __name__,
    {
        "CrossLayerExperiment": f"{__name__}.cross_layer",
        "CrossLayerSettings": f"{__name__}.settings",
        "Experiment": f"{__name__}.experiment",
        "ExperimentFolder": f"{__name__}.folder",
        "ExperimentSettings": f"{__name__}.settings",
        "GapExperiment": f"{__name__}.gap",
        "GapSettings": f"{__name__}.settings",
    },
)

__all__ = [
    "CrossLayerExperiment",
    "CrossLayerSettings",
    "Experiment",
    "ExperimentFolder",
    "ExperimentSettings",
    "GapExperiment",
    "GapSettings",
]
