"""The whole job, as `bitat-tf train` runs it: float training, binarization, export, verification, report."""

from bitat_tf.workflow.config import TrainConfig
from bitat_tf.workflow.run_folder import RunFolder
from bitat_tf.workflow.train import TrainJob

__all__ = ["RunFolder", "TrainConfig", "TrainJob"]
