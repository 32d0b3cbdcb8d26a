"""The settings of a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from bitat_tf._pixels import AUGMENTATIONS
from bitat_tf._validation import check_number
from bitat_tf.workflow.options import option, option_name
from bitat_tf.workflow.settings import DIGITS, MOST_BLOCKS, Settings

if TYPE_CHECKING:
    from bitat_tf.callbacks import Schedule

POST_TRAINING_CALIBRATION = 2048  # without training, more of them help
_OF_TRAINED_BINARIZATION = (
    "epochs_per_layer",
    "joint_epochs",
    "strength",
    "freeze",
    "distillation",
    "binarization_learning_rate",
)

Config = TypeVar("Config", bound="RunConfig")


@dataclass(frozen=True)
class RunConfig(Settings):
    """Settings that every run has, wherever its float network comes from; the defaults are those for the digits.

    Attributes:
        validation_share: Share of the training images that the curves are validated on.

    The others are its options, as `bitat-tf train --help` has them. `epochs_per_layer` are half quantization, half fine-tuning.
    """

    augment: str = option(
        "shift", "what happens to training images at random", group="data", choices=AUGMENTATIONS, folders="shift-flip"
    )
    epochs: int = option(20, "epochs of the float training", group="training", minimum=1, folders=30)
    epochs_per_layer: float = option(2.0, "epochs of each layer's binarization", group="training", exclusive=True, folders=1.0)
    joint_epochs: float = option(20.0, "epochs at the end, with all layers binary", group="training", folders=15.0)
    batch_size: int = option(32, "images of a step", group="training", minimum=1, folders=64)
    learning_rate: float = option(
        1e-3, "of the float training, decays linearly", group="training", metavar="RATE", exclusive=True
    )
    binarization_learning_rate: float = option(
        1e-2, "of the binarization, decays linearly", group="training", metavar="RATE", exclusive=True
    )
    strength: float | None = option(
        None, "weight of the disentangled loss", group="training", metavar="LAMBDA", otherwise="what the layers say, or 1"
    )
    freeze: str = option(
        "never",
        "when the layers below the current one are frozen",
        group="training",
        choices=("never", "quantization", "always"),
    )
    distillation: float = option(
        0.0,
        "share of the loss, 0 to 1, that compares the outputs with the float network's; labels have the rest",
        group="training",
        metavar="SHARE",
        maximum=1.0,
    )
    post_training: bool = option(
        False,
        "make the float network binary without training, from closed forms: minutes, and less accurate",
        group="training",
    )
    calibration: int = option(
        512,
        "training images for the statistics",
        group="training",
        minimum=1,
        otherwise=f"512, with --post-training {POST_TRAINING_CALIBRATION}",
    )
    tensorboard: bool = option(False, "write what is trained for TensorBoard: curves, stages and layers", group="training")
    validation_share: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_number(self.command, "validation_share", self.validation_share, maximum=0.9, exclusive=True)

    @classmethod
    def for_data(cls: type[Config], data: str = DIGITS, **given: Any) -> Config:
        """Return the settings for a kind of data: the class has the defaults for the digits, folders of images have others."""
        given = cls.normalized({"data": data, **given})
        if given.get("post_training"):
            unused = [option_name(name) for name in _OF_TRAINED_BINARIZATION if name in given]
            if unused:
                raise ValueError(
                    f"{cls.command}: {', '.join(unused)}: only for a binarization with training. Received: --post-training. "
                    "Leave either out."
                )
        return cls(**{**cls.defaults(given), **given})

    @classmethod
    def defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the defaults that differ from those of the class, as they follow from what is given."""
        defaults = {} if given["data"] == DIGITS else cls.for_folders()
        if given.get("post_training"):
            defaults["calibration"] = POST_TRAINING_CALIBRATION
        return defaults

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return stored settings with what versions before this one did not store."""
        if "learning_rate" in values:  # runs from before there were two had one for both
            values = {"binarization_learning_rate": values["learning_rate"], **values}
        return values

    def schedule(self) -> "Schedule":
        """Return the schedule of the binarization."""
        from bitat_tf.callbacks import Schedule  # only here: with it comes Keras, and options are checked before

        return Schedule(
            quantization_epochs=self.epochs_per_layer / 2,
            fine_tuning_epochs=self.epochs_per_layer / 2,
            joint_epochs=self.joint_epochs,
            quantization_learning_rate=self.binarization_learning_rate,
            fine_tuning_learning_rate=self.binarization_learning_rate,
            joint_learning_rate=self.binarization_learning_rate,
            freeze=self.freeze,
            strength=self.strength,
        )


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Settings of `bitat-tf train`: its options."""

    command: ClassVar[str] = "train"
    only_folders: ClassVar[tuple[str, ...]] = ("image_size",)

    image_size: int | None = option(
        None, "side that images are scaled to", group="data", metavar="PIXELS", minimum=4, otherwise="theirs, up to 64"
    )
    width: float = option(1.0, "multiplier of the network's filters", group="network", metavar="FACTOR", exclusive=True)
    blocks: int | None = option(
        None,
        "blocks of two binary layers each",
        group="network",
        minimum=1,
        maximum=MOST_BLOCKS,
        otherwise="13 as in ReActNet-A; pictures below 32 pixels 3",
    )
