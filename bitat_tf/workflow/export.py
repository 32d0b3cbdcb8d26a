"""From a binarized model in a file to a `.tflite` file, with int8 for the rest on demand; and its verification."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bitat_tf._tables import ShownAsTable
from bitat_tf.data import ImageData
from bitat_tf.export import ExportReport, VerificationReport, to_tflite, verify
from bitat_tf.workflow.images import calibration_images, load_images
from bitat_tf.workflow.load_model import load_model
from bitat_tf.workflow.model_format import check_classes, input_shape
from bitat_tf.workflow.pixels import RAW, check_channels, taking_pixels


@dataclass(frozen=True)
class ExportOptions:
    """What `bitat-tf export` is asked for.

    Attributes:
        model: A binarized model, `.keras`.
        out: Where the file goes.
        data: "digits" or a folder of class folders; None for random inputs.
        pixels: What the model expects of pixels; the scaling becomes part of the file, which takes raw ones.
        int8: Whether what is not binary becomes int8.
        input_type: What an int8 file takes: "float32", "int8" or "uint8".
        calibration: Number of training images for the ranges.
        converter: "direct", or "larq-compute-engine" for its own converter.
        engine: What runs the file for the verification; None for the first that is installed.
        overwrite: Whether a file that is there is replaced.
        skip_corrupt: Whether images that cannot be read are left out.
        seed: Of what is drawn.
        any_size: As in `load_model`.
    """

    model: str
    out: str
    data: str | None = None
    pixels: str = RAW
    int8: bool = False
    input_type: str = "float32"
    calibration: int = 512
    converter: str = "direct"
    engine: str | None = None
    overwrite: bool = False
    skip_corrupt: bool = False
    seed: int = 0
    any_size: bool = False

    def __post_init__(self):
        if self.int8 and self.data is None:
            raise ValueError("export: --int8 measures ranges on images. Received: no --data. Pass --data digits|DIR.")
        if not self.int8 and self.input_type != "float32":
            raise ValueError("export: --input-type is for files with an int8 rest. Received: no --int8.")
        if self.calibration < 1:
            raise ValueError(f"export: --calibration must be at least 1. Received: {self.calibration}.")
        if not self.out.endswith(".tflite"):
            raise ValueError(f"export: the name of model.tflite must end with .tflite. Received: {self.out!r}.")
        if Path(self.out).exists() and not self.overwrite:
            raise FileExistsError(f"export: {self.out} is there already. Pass --overwrite to replace it, or another name.")


@dataclass(frozen=True)
class Exported(ShownAsTable):
    """What `export_file` did.

    Attributes:
        report: Of the file.
        float_rest: Of an int8 file: the same network with the float rest, on the same images; None for a float file.
    """

    report: ExportReport
    float_rest: ExportReport | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {**self.report.to_dict(), "float_rest": None if self.float_rest is None else self.float_rest.to_dict()}

    def __str__(self) -> str:
        if self.float_rest is None:
            return str(self.report)
        other = self.float_rest
        return (
            f"{self.report}\nwith float rest {other.size:,} bytes, accuracy {other.accuracy:.2%} (int8: "
            f"{self.report.size:,} bytes, {self.report.accuracy:.2%})"
        )


def export_file(options: ExportOptions) -> Exported:
    """Write a binarized model as a `.tflite` file.

    Raises:
        ValueError: If the model, the images or the options are unusable; nothing is left under the file's name.
        OSError: If something cannot be read or written.
    """
    model = _model(options.model, options.pixels, "export", options.any_size)
    images = None if options.data is None else _images("export", model, options.data, options.seed, options.skip_corrupt)
    described: dict[str, Any] = {"pixels": RAW, "classes": () if images is None else images.class_names}
    data, labels = (None, None) if images is None else _test(images)
    described |= {"converter": options.converter, "engine": options.engine}
    if not options.int8 or images is None:
        return Exported(to_tflite(model, options.out, data, labels, **described), None)
    with tempfile.TemporaryDirectory() as folder:
        float_rest = to_tflite(model, Path(folder, "float.tflite"), data, labels, **described)
    calibration = calibration_images(images.train_images, options.calibration, options.seed)
    int8 = to_tflite(model, options.out, data, labels, calibration=calibration, input_type=options.input_type, **described)
    return Exported(int8, float_rest)


def verify_file(
    model: str | os.PathLike,
    path: str | os.PathLike,
    data: str | None,
    pixels: str = RAW,
    traced: int = 8,
    engine: str | None = None,
    skip_corrupt: bool = False,
    any_size: bool = False,
) -> VerificationReport:
    """Compare a `.tflite` file with the model that it was exported from, on all test images; `engine` as in `verify`,
    `any_size` as in `load_model`.

    Raises:
        ValueError: If the model, the file or the images are unusable.
        ImportError: If the engine, or any where none is named, is not installed.
        OSError: If something cannot be read.
    """
    loaded = _model(model, pixels, "verify", any_size)
    images = None if data is None else _images("verify", loaded, data, 0, skip_corrupt)
    samples, labels = (None, None) if images is None else _test(images)
    return verify(loaded, path, samples, labels, traced, engine=engine)


def _model(path: str | os.PathLike, pixels: str, command: str, any_size: bool) -> keras.Model:
    model = load_model(path, any_size)
    if pixels != RAW:
        check_channels(pixels, input_shape(model, command)[-1], command)
    return taking_pixels(model, pixels)


def _images(command: str, model: keras.Model, data: str, seed: int, skip_corrupt: bool) -> ImageData:
    images = load_images(command, data, input_shape(model, command), seed, skip_corrupt=skip_corrupt)
    check_classes(model, images.class_names, command)
    return images


def _test(images: ImageData) -> tuple[np.ndarray, np.ndarray]:
    return images.test_images.astype(np.float32), images.test_labels
