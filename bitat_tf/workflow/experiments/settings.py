"""The settings of the experiments."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from bitat_tf.workflow.options import option, option_name
from bitat_tf.workflow.settings import DIGITS, MOST_BLOCKS, Settings

AnyExperimentSettings = TypeVar("AnyExperimentSettings", bound="ExperimentSettings")


_LARGEST_SEED = 2_000_000_000  # those of the repetitions follow on it, and others on these
_MOST_REPEATS = 1000
_SMALLEST = 32  # pixels of a side that a MobileNetV2 takes


@dataclass(frozen=True)
class ExperimentSettings(Settings):
    """What both experiments have: their options. The repetitions have `seed` and the seeds after it."""

    of_float_training: ClassVar[tuple[str, ...]] = ("epochs", "batch_size", "learning_rate", "width", "image_size")
    only_folders: ClassVar[tuple[str, ...]] = ("image_size",)

    model: str = option(
        "",
        "a trained float network that takes pixels 0..255, to start from",
        metavar="MODEL.keras",
        otherwise="one is trained",
    )
    image_size: int | None = option(
        None, "side that images are scaled to", metavar="PIXELS", minimum=4, otherwise="theirs, up to 64"
    )
    width: float = option(1.0, "multiplier of the network's filters", metavar="FACTOR", exclusive=True)
    epochs: int = option(1, "epochs of the float training", minimum=1)
    batch_size: int = option(128, "images of a step", minimum=1)
    learning_rate: float = option(0.1, "of the float training, decays", metavar="RATE", exclusive=True)
    calibration: int = option(512, "training images for the covariances", minimum=1)
    repeats: int = option(3, "number of seeds", minimum=1, maximum=_MOST_REPEATS)
    seed: int = option(0, "the first of them", maximum=_LARGEST_SEED)

    @classmethod
    def for_options(cls: type[AnyExperimentSettings], given: dict[str, Any]) -> AnyExperimentSettings:
        """Return the settings for the options that were given.

        Raises:
            ValueError: If a setting cannot be, or options of the float training come with a model that is trained.
        """
        unused = [option_name(name) for name in cls.of_float_training if name in given]
        if given.get("model") and unused:
            raise ValueError(
                f"{cls.command}: {', '.join(unused)}: only for the float network that is trained. Received: --model. Leave "
                "either out."
            )
        return cls.from_dict(cls.normalized(given))

    @property
    def in_use(self) -> dict[str, Any]:
        """The settings that count, without paths: a model that was trained before has those of its training no more."""
        unused = self.of_float_training if self.model else ("model",)
        values = {name: value for name, value in self.to_dict().items() if name not in unused}
        return {
            name: Path(value).name if value and name in ("data", "test", "model") else value for name, value in values.items()
        }

    @property
    def seeds(self) -> list[int]:
        """The seeds of the repetitions."""
        return [self.seed + number for number in range(self.repeats)]

    @classmethod
    def normalized(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return settings as they are stored: a run may be resumed from another folder, so paths are absolute."""
        given = super().normalized(given)
        return {**given, "model": os.path.abspath(given["model"])} if given.get("model") else given


@dataclass(frozen=True)
class CrossLayerSettings(ExperimentSettings):
    """Settings of `bitat-tf experiment cross-layer`: its options. SGD with momentum 0.9 and a cosine decay trains."""

    command: ClassVar[str] = "experiment cross-layer"
    of_float_training: ClassVar[tuple[str, ...]] = (*ExperimentSettings.of_float_training, "weight_decay")

    data: str = option(
        DIGITS,
        "folder of class folders of images, as in `train`, of 32x32 pixels or more; digits with --model only",
        group="data",
        metavar="digits|DIR",
        otherwise="",
    )
    epochs: int = option(30, "epochs of the float training", minimum=1)
    learning_rate: float = option(0.05, "of the float training, decays", metavar="RATE", exclusive=True)
    weight_decay: float = option(5e-4, "of the float training, on kernels, decoupled from the loss")
    scales: tuple[float, ...] = option(
        (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0), "scales of the noise, in root mean squares of a layer's weights"
    )
    test_images: int | None = option(2000, "test images that accuracy under noise is measured on", minimum=1)

    @classmethod
    def for_options(cls, given: dict[str, Any]) -> "CrossLayerSettings":
        """Return the settings for the options that were given; ValueError as well where the network to train needs others."""
        settings = super().for_options(given)
        size = 8 if settings.data == DIGITS else settings.image_size
        if not settings.model and size is not None:
            check_size_of_mobilenet(settings, size, size)
        return settings

    def __post_init__(self):
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))  # JSON has lists
        super().__post_init__()
        if not self.scales:
            raise ValueError(f"{self.command}: --scales must hold at least one number. Received: none.")


def check_size_of_mobilenet(settings: CrossLayerSettings, height: int, width: int) -> None:
    """Raise ValueError if pictures are too small for the MobileNetV2 that is trained."""
    if min(height, width) < _SMALLEST:
        raise ValueError(
            f"{settings.command}: the MobileNetV2 that is trained takes pictures of at least {_SMALLEST}x{_SMALLEST}. "
            f"Received: {settings.data}, of {height}x{width}. Pass a folder of pictures as --data, with --image-size "
            f"{_SMALLEST} or more, or a trained network of yours as --model."
        )


@dataclass(frozen=True)
class GapSettings(ExperimentSettings):
    """Settings of `bitat-tf experiment gap`: its options. Adam trains, with a linear decay."""

    command: ClassVar[str] = "experiment gap"
    # The batches are those of the binarization, too.
    of_float_training: ClassVar[tuple[str, ...]] = ("epochs", "learning_rate", "width", "image_size", "blocks")

    epochs: int = option(20, "epochs of the float training", minimum=1)
    batch_size: int = option(64, "images of a step", minimum=1)
    learning_rate: float = option(1e-3, "of the float training, decays", metavar="RATE", exclusive=True)
    blocks: int | None = option(
        None, "blocks of two binary layers each", minimum=1, maximum=MOST_BLOCKS, otherwise="as in `train`"
    )
    binarization_epochs: int = option(20, "epochs of either binarization", minimum=2)
    binarization_learning_rate: float = option(1e-2, "of either, decays linearly", metavar="RATE", exclusive=True)
    joint_share: float = option(
        0.5,
        "share of BiTAT's epochs in which all layers train, at the end",
        metavar="SHARE",
        maximum=0.99,
        otherwise="0.5; the paper's: 0",
    )
    float_reference: bool = option(
        False,
        "pull at the float weights, as in the paper",
        otherwise="at those re-targeted to binary inputs",
    )
    strength: float | None = option(
        None, "weight of the disentangled loss", metavar="LAMBDA", otherwise="what the layers say, or 1"
    )
