"""The whole job, as `bitat-tf train` runs it: float training, binarization, export, verification, report."""

from bitat_tf.workflow.config import TrainConfig
from bitat_tf.workflow.train import train

__all__ = ["TrainConfig", "train"]
