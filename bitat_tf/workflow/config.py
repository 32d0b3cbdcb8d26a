"""The settings of a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from bitat_tf._pixels import AUGMENTATIONS
from bitat_tf._validation import check_choice, check_number
from bitat_tf.workflow.settings import DIGITS, Settings, option_name

if TYPE_CHECKING:
    from bitat_tf.callbacks import Schedule

_FOLDER_DEFAULTS: dict[str, Any] = {
    "epochs_per_layer": 1.0,
    "joint_epochs": 15.0,
    "batch_size": 64,
    "augment": "shift-flip",
}
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
        epochs: Epochs of the float training.
        epochs_per_layer: Epochs of each binary layer, half of them quantization, half fine-tuning.
        joint_epochs: Epochs of the last phase, in which all layers train.
        batch_size: Images of a training step.
        augment: What happens to training images at random: "none", "shift" or "shift-flip".
        validation_share: Share of the training images that the curves are validated on.
        calibration: Number of training images for the statistics of the layers.
        learning_rate: At the start of the float training; decays linearly to 0.
        binarization_learning_rate: The same of the binarization.
        strength: lambda of the disentangled loss; None for what the layers name, and 1 where they name none.
        freeze: When the layers below are frozen: "never", "quantization" or "always".
        distillation: Share of the loss that compares the network's outputs with the float network's, from 0 to 1; the labels
            have the rest.
        post_training: Whether the network is made binary without training, from closed forms.
        tensorboard: Whether curves, stages and layers are written for TensorBoard as well.

    The others are those of `Pictures`.
    """

    least_epochs: ClassVar[int] = 1
    for_folders: ClassVar[tuple[str, ...]] = ()  # of no use for the digits

    epochs: int = 20
    epochs_per_layer: float = 2.0
    joint_epochs: float = 20.0
    batch_size: int = 32
    augment: str = "shift"
    validation_share: float = 0.1
    calibration: int = 512
    learning_rate: float = 1e-3
    binarization_learning_rate: float = 1e-2
    strength: float | None = None
    freeze: str = "never"
    distillation: float = 0.0
    post_training: bool = False
    tensorboard: bool = False

    def __post_init__(self):
        self.check_integers(epochs=self.least_epochs, batch_size=1, subset=2, calibration=1)
        self.check_pictures(self.command, *self.for_folders)
        check_number(self.command, "validation_share", self.validation_share, maximum=0.9, exclusive=True)
        check_choice(self.command, "augment", self.augment, AUGMENTATIONS)
        for name in ("epochs_per_layer", "learning_rate", "binarization_learning_rate"):
            check_number(self.command, name, getattr(self, name), exclusive=True)
        check_number(self.command, "joint_epochs", self.joint_epochs)
        if self.strength is not None:
            check_number(self.command, "strength", self.strength)
        check_choice(self.command, "freeze", self.freeze, ("never", "quantization", "always"))
        check_number(self.command, "distillation", self.distillation, maximum=1.0)
        check_number(self.command, "seed", self.seed, maximum=2**31 - 1)

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
        defaults = {} if given["data"] == DIGITS else dict(_FOLDER_DEFAULTS)
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
    """Settings of `bitat-tf train`; see `bitat-tf train --help`.

    Attributes:
        width: Multiplier of the network's filters.
        blocks: Number of blocks of the network, two binary layers each; None for the default of the picture's size.
        image_size: Side in pixels that images are scaled to; None for their own up to 64.

    The others are those of `RunConfig`.
    """

    command: ClassVar[str] = "train"
    for_folders: ClassVar[tuple[str, ...]] = ("image_size",)

    width: float = 1.0
    blocks: int | None = None
    image_size: int | None = None

    def __post_init__(self):
        super().__post_init__()
        self.check_integers(blocks=1, image_size=4)
        self.check_blocks(self.blocks)
        check_number(self.command, "width", self.width, exclusive=True)

    @classmethod
    def defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the defaults that differ from those of the class, as they follow from what is given."""
        return {**super().defaults(given), **({} if given["data"] == DIGITS else {"epochs": 30})}
