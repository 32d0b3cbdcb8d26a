"""The settings of a run that starts from a trained network, and whether its copy is still that network."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bitat_tf._files import file_hash
from bitat_tf._pixels import PIXELS, RAW
from bitat_tf.workflow.config import RunConfig
from bitat_tf.workflow.options import option
from bitat_tf.workflow.settings import DIGITS, FOLDERS

_EPOCHS_WITH_SHORTCUTS = 5  # the network computes something else then, and has to learn it


@dataclass(frozen=True)
class BinarizeConfig(RunConfig):
    """Settings of `bitat-tf binarize`.

    Attributes:
        model: Absolute path of the `.keras` file; a copy is in the run's folder.
        sha256: Hash of that file.

    The others are its options.
    """

    command: ClassVar[str] = "binarize"

    data: str = option(DIGITS, f"what the model was trained on: {FOLDERS}", group="data", metavar="digits|DIR", otherwise="")
    pixels: str = option(
        RAW,
        "what the model expects of pixels 0..255, by default as they are; the scaling becomes part of the exported network. "
        "imagenet: mean 0 and deviation 1 of ImageNet's channels; caffe: BGR less ImageNet's means (ResNet50, VGG)",
        group="data",
        choices=tuple(PIXELS),
    )
    skip: tuple[str, ...] = option(
        (),
        'layers that stay float, by name or pattern ("block_1_*"); may be given several times',
        group="network",
        metavar="PATTERN",
    )
    first_and_last: bool = option(False, "make the first and the last layer binary as well", group="network")
    activation: str = option(
        "keep",
        "rprelu: every ReLU before a binary layer gets learned shifts and slopes",
        group="network",
        choices=("keep", "rprelu"),
    )
    shortcuts: bool = option(False, "add a shortcut around each binary layer; needs float training (--epochs)", group="network")
    depthwise: str = option(
        "keep",
        "expand: depthwise convolutions become full binary ones; keep: they stay float",
        group="network",
        choices=("keep", "expand"),
    )
    epochs: int = option(
        0,
        "epochs of float training before the binarization",
        group="training",
        otherwise=f"0, with --shortcuts {_EPOCHS_WITH_SHORTCUTS}",
    )
    model: str = ""
    sha256: str = ""

    def __post_init__(self):
        object.__setattr__(self, "skip", tuple(self.skip))  # JSON has lists
        super().__post_init__()
        if self.shortcuts and not self.epochs:
            raise ValueError(
                "binarize: --shortcuts changes what the network computes, so that it has to be trained again before it is made "
                f"binary. Received: --epochs {self.epochs}. Pass more, or leave --epochs out for {_EPOCHS_WITH_SHORTCUTS}."
            )

    @classmethod
    def defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the defaults that differ from those of the class, as they follow from what is given."""
        return {**super().defaults(given), **({"epochs": _EPOCHS_WITH_SHORTCUTS} if given.get("shortcuts") else {})}

    @classmethod
    def normalized(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return settings as they are stored: a run may be resumed from another folder, so paths are absolute."""
        given = super().normalized(given)
        return {**given, "model": os.path.abspath(given["model"])} if "model" in given else given


def check_copy(path: Path, config: BinarizeConfig, given: str | os.PathLike | None = None) -> None:
    """Raise unless a run's copy of the model, and the model that the user names, are those that the run was begun with.

    Args:
        path: The copy.
        config: Settings of the run.
        given: The model named with --resume, if any.

    Raises:
        OSError: If one of them is missing.
        ValueError: If one of them is another one.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"--resume: the run's copy of its model, {path}, is missing. Start the run anew with --overwrite."
        )
    if file_hash(path) != config.sha256:
        raise ValueError(f"--resume: {path} is not the model that the run was begun with. Start the run anew with --overwrite.")
    if given is None:
        return
    if not Path(given).is_file():
        raise FileNotFoundError(f"--resume: there is no file {given}. Leave the model out: the run has a copy of it.")
    if file_hash(given) != config.sha256:
        raise ValueError(
            f"--resume: {given} is another model than the one that the run was begun with (it may have been changed since). "
            "Leave it out to continue with the run's own copy, or start the run anew with --overwrite."
        )
