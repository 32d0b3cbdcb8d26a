"""The main job: a folder of images becomes a verified binary network."""

from collections.abc import Callable
from typing import Any

import keras

from bitat_tf.applications import REACTNET_A_BLOCKS, ReActNet
from bitat_tf.data import ImageData
from bitat_tf.inspection import CheckReport
from bitat_tf.workflow.config import TrainConfig
from bitat_tf.workflow.images import load_own_images
from bitat_tf.workflow.job import Job

_SMALL_BLOCKS = ((64, 1), (128, 2), (128, 1))


def network_blocks(image_shape: tuple[int, ...], blocks: int | None) -> tuple[tuple[int, int], ...]:
    """Return the blocks of a ReActNet: ReActNet-A's, or three for pictures below 32 pixels; or the first `blocks`."""
    if blocks is None:
        return REACTNET_A_BLOCKS if min(image_shape[:2]) >= 32 else _SMALL_BLOCKS
    return REACTNET_A_BLOCKS[:blocks]


class NewReActNet:
    """A ReActNet, built for the images and to be trained; a `FloatSource`.

    Args:
        config: The settings.
    """

    from_logits = True

    def __init__(self, config: TrainConfig):
        self._config = config

    def load_images(self) -> ImageData:
        """Return the images in the size that the settings say."""
        return load_own_images(self._config, self._config.image_size)

    def build(self, images: ImageData) -> keras.Model:
        """Return the network for these images."""
        blocks = network_blocks(images.image_shape, self._config.blocks)
        return ReActNet(images.image_shape, images.num_classes, width=self._config.width, blocks=blocks)

    def introduce(self, report: CheckReport, evaluate: Callable[[keras.Model], float]) -> None:
        """Say nothing: there is nothing to know of a network that is not trained yet."""

    def facts(self) -> dict[str, Any]:
        """Return the kind of the network."""
        return {"kind": "ReActNet"}


class TrainJob(Job):
    """Trains a float ReActNet, binarizes it, exports and verifies it, and writes the report.

    Args:
        config: The settings.

    Raises:
        ValueError: If the data or the settings are unusable.
        OSError: If the data cannot be read.
    """

    def __init__(self, config: TrainConfig):
        super().__init__(config, NewReActNet(config))
