"""Images to train on: the embedded digits or folders of pictures, and the `tf.data` pipelines over them."""

from bitat_tf.data.folder import load_folder
from bitat_tf.data.images import ImageData, load_digits, split_validation
from bitat_tf.data.listing import FolderSplit, split_folder
from bitat_tf.data.pipeline import evaluation_dataset, training_dataset

__all__ = [
    "FolderSplit",
    "ImageData",
    "evaluation_dataset",
    "load_digits",
    "load_folder",
    "split_folder",
    "split_validation",
    "training_dataset",
]
