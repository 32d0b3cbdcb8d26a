"""Networks in the manner of `tf.keras.applications`, with binary layers that start as float layers."""

from bitat_tf.applications.reactnet import REACTNET_A_BLOCKS, ReActNet

__all__ = ["REACTNET_A_BLOCKS", "ReActNet"]
