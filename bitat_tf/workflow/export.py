"""From a binarized model in a file to a `.tflite` file, with int8 for the rest on demand; and its verification."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bitat_tf._console import warn
from bitat_tf._tables import ShownAsTable
from bitat_tf.data import ImageData
from bitat_tf.export import ExportReport, VerificationReport, to_tflite, verify
from bitat_tf.workflow.export_options import ExportOptions
from bitat_tf.workflow.images import calibration_images, load_images
from bitat_tf.workflow.loading import load_model
from bitat_tf.workflow.model_format import check_classes, input_shape
from bitat_tf.workflow.pixels import RAW, check_channels, taking_pixels
from bitat_tf.workflow.settings import Pictures


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
    images = None if options.pictures is None else _images("export", model, options.pictures)
    described: dict[str, Any] = {"pixels": RAW, "classes": () if images is None else images.class_names}
    data, labels = (None, None) if images is None else _test(images)
    described |= {"converter": options.converter, "engine": options.engine}
    if not options.int8 or images is None or options.pictures is None:
        return Exported(to_tflite(model, options.out, data, labels, **described), None)
    with tempfile.TemporaryDirectory() as folder:
        float_rest = to_tflite(model, Path(folder, "float.tflite"), data, labels, **described)
    calibration = calibration_images(images.train_images, options.calibration, options.pictures.seed)
    int8 = to_tflite(model, options.out, data, labels, calibration=calibration, input_type=options.input_type, **described)
    return Exported(int8, float_rest)


def verify_file(
    model: str | os.PathLike,
    path: str | os.PathLike,
    pictures: Pictures | None,
    pixels: str = RAW,
    traced: int = 8,
    engine: str | None = None,
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
    images = None if pictures is None else _images("verify", loaded, pictures)
    samples, labels = (None, None) if images is None else _test(images)
    return verify(loaded, path, samples, labels, traced, engine=engine)


def _model(path: str | os.PathLike, pixels: str, command: str, any_size: bool) -> keras.Model:
    model = load_model(path, any_size)
    if pixels != RAW:
        check_channels(pixels, input_shape(model, command)[-1], command)
    return taking_pixels(model, pixels)


def _images(command: str, model: keras.Model, pictures: Pictures) -> ImageData:
    images = load_images(command, pictures, input_shape(model, command))
    check_classes(model, images.class_names, command)
    for note in images.notes:
        warn(note, to_stderr=True)  # stdout may be for a program
    return images


def _test(images: ImageData) -> tuple[np.ndarray, np.ndarray]:
    return images.test_images.astype(np.float32), images.test_labels
