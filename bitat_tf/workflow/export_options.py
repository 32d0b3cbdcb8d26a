"""What `bitat-tf export` is asked for; without Keras, so that a mistake is told at once."""

from dataclasses import dataclass
from pathlib import Path

from bitat_tf._pixels import PIXELS, RAW
from bitat_tf.tflite_file.engines import ENGINES, LCE
from bitat_tf.workflow.options import check_options, option
from bitat_tf.workflow.settings import Pictures


@dataclass(frozen=True)
class ExportOptions:
    """What `bitat-tf export` is asked for.

    Attributes:
        model: A binarized model, `.keras`.
        out: Where the file goes.
        pictures: Which images; None for random inputs.
        any_size: As in `load_model`.

    The others are its options.
    """

    model: str
    out: str
    pictures: Pictures | None = None
    pixels: str = option(
        RAW,
        "what the model expects of pixels 0..255, by default as they are; the scaling becomes part of the file",
        choices=tuple(PIXELS),
    )
    int8: bool = option(False, "what is not binary becomes int8, by ranges measured on --data")
    input_type: str = option(
        "float32", "what an int8 file takes; uint8: the bytes of a picture", choices=("float32", "int8", "uint8")
    )
    calibration: int = option(512, "training images for the ranges", minimum=1)
    converter: str = option(
        "direct", f"{LCE}: its own converter, if that is installed, as another opinion", choices=("direct", LCE)
    )
    engine: str | None = option(None, "what runs the file", choices=ENGINES, otherwise="the first that is installed")
    overwrite: bool = option(False, "replace a file that is there")
    any_size: bool = False

    def __post_init__(self):
        check_options("export", self)
        if self.int8 and self.pictures is None:
            raise ValueError("export: --int8 measures ranges on images. Received: no --data. Pass --data digits|DIR.")
        if not self.int8 and self.input_type != "float32":
            raise ValueError("export: --input-type is for files with an int8 rest. Received: no --int8.")
        if not self.out.endswith(".tflite"):
            raise ValueError(f"export: the name of model.tflite must end with .tflite. Received: {self.out!r}.")
        if Path(self.out).exists() and not self.overwrite:
            raise FileExistsError(f"export: {self.out} is there already. Pass --overwrite to replace it, or another name.")
