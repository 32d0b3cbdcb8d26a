"""What `bitat-tf export` is asked for; without Keras, so that a mistake is told at once."""

from dataclasses import dataclass
from pathlib import Path

from bitat_tf._pixels import RAW
from bitat_tf.workflow.settings import Pictures


@dataclass(frozen=True)
class ExportOptions:
    """What `bitat-tf export` is asked for.

    Attributes:
        model: A binarized model, `.keras`.
        out: Where the file goes.
        pictures: Which images; None for random inputs.
        pixels: What the model expects of pixels; the scaling becomes part of the file, which takes raw ones.
        int8: Whether what is not binary becomes int8.
        input_type: What an int8 file takes: "float32", "int8" or "uint8".
        calibration: Number of training images for the ranges.
        converter: "direct", or "larq-compute-engine" for its own converter.
        engine: What runs the file for the verification; None for the first that is installed.
        overwrite: Whether a file that is there is replaced.
        any_size: As in `load_model`.
    """

    model: str
    out: str
    pictures: Pictures | None = None
    pixels: str = RAW
    int8: bool = False
    input_type: str = "float32"
    calibration: int = 512
    converter: str = "direct"
    engine: str | None = None
    overwrite: bool = False
    any_size: bool = False

    def __post_init__(self):
        if self.int8 and self.pictures is None:
            raise ValueError("export: --int8 measures ranges on images. Received: no --data. Pass --data digits|DIR.")
        if not self.int8 and self.input_type != "float32":
            raise ValueError("export: --input-type is for files with an int8 rest. Received: no --int8.")
        if not self.out.endswith(".tflite"):
            raise ValueError(f"export: the name of model.tflite must end with .tflite. Received: {self.out!r}.")
        if Path(self.out).exists() and not self.overwrite:
            raise FileExistsError(f"export: {self.out} is there already. Pass --overwrite to replace it, or another name.")
