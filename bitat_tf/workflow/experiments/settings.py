"""The settings of the experiments."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from bitat_tf._validation import check_number
from bitat_tf.workflow.settings import DIGITS, Settings, option_name

AnyExperimentSettings = TypeVar("AnyExperimentSettings", bound="ExperimentSettings")


_LARGEST_SEED = 2_000_000_000  # those of the repetitions follow on it, and others on these
_MOST_REPEATS = 1000
_SMALLEST = 32  # pixels of a side that a MobileNetV2 takes


@dataclass(frozen=True)
class ExperimentSettings(Settings):
    """What both experiments have.

    Attributes:
        model: Absolute path of a trained float network to start from; empty to train one.
        epochs: Epochs of the float training.
        batch_size: Images of a training step.
        learning_rate: At the start of the float training.
        width: Multiplier of the network's filters.
        image_size: Side in pixels that images are scaled to; None for their own up to 64.
        calibration: Number of training images for the covariances.
        repeats: Number of seeds, `seed` and those after it.

    The others are those of `Pictures`.
    """

    of_float_training: ClassVar[tuple[str, ...]] = ("epochs", "batch_size", "learning_rate", "width", "image_size")

    model: str = ""
    epochs: int = 1
    batch_size: int = 128
    learning_rate: float = 0.1
    width: float = 1.0
    image_size: int | None = None
    calibration: int = 512
    repeats: int = 3

    def __post_init__(self):
        self.check_integers(epochs=1, batch_size=1, image_size=4, subset=2, calibration=1)
        self.check_pictures(self.command, "image_size")
        check_number(self.command, "learning_rate", self.learning_rate, exclusive=True)
        check_number(self.command, "width", self.width, exclusive=True)
        check_number(self.command, "seed", self.seed, maximum=_LARGEST_SEED)
        check_number(self.command, "repeats", self.repeats, minimum=1, maximum=_MOST_REPEATS)

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
    """Settings of `bitat-tf experiment cross-layer`; see its `--help`.

    Attributes:
        epochs, learning_rate: Of SGD with momentum 0.9 and a cosine decay.
        weight_decay: Of the float training, decoupled from the loss.
        scales: Scales of the noise, in root mean squares of a layer's weights.
        test_images: Number of test images that accuracy under noise is measured on; None for all.

    The others are those of `ExperimentSettings`.
    """

    command: ClassVar[str] = "experiment cross-layer"
    of_float_training: ClassVar[tuple[str, ...]] = (*ExperimentSettings.of_float_training, "weight_decay")

    epochs: int = 30
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    scales: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    test_images: int | None = 2000

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
        self.check_integers(test_images=1)
        check_number(self.command, "weight_decay", self.weight_decay)
        for scale in self.scales:
            check_number(self.command, "scales", scale)
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
    """Settings of `bitat-tf experiment gap`; see its `--help`.

    Attributes:
        epochs, learning_rate: Of Adam in the float training, with a linear decay.
        blocks: Blocks of the ReActNet, two binary layers each; None for the default of the picture's size.
        binarization_epochs: Epochs of either binarization.
        binarization_learning_rate: Of Adam in both, at the start; decays linearly.
        joint_share: Share of BiTAT's epochs in which all layers train, at the end; the layers' phases have the rest.
        float_reference: Whether BiTAT pulls at the float weights, as in the paper, and not at re-targeted ones.
        strength: lambda of BiTAT's disentangled loss; None for what the layers name, and 1 where they name none.

    The others are those of `ExperimentSettings`.
    """

    command: ClassVar[str] = "experiment gap"
    # The batches are those of the binarization, too.
    of_float_training: ClassVar[tuple[str, ...]] = ("epochs", "learning_rate", "width", "image_size", "blocks")

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    blocks: int | None = None
    binarization_epochs: int = 20
    binarization_learning_rate: float = 1e-2
    joint_share: float = 0.5
    float_reference: bool = False
    strength: float | None = None

    def __post_init__(self):
        super().__post_init__()
        self.check_integers(blocks=1, binarization_epochs=2)
        self.check_blocks(self.blocks)
        check_number(self.command, "binarization_learning_rate", self.binarization_learning_rate, exclusive=True)
        check_number(self.command, "joint_share", self.joint_share, maximum=0.99)
        if self.strength is not None:
            check_number(self.command, "strength", self.strength)
