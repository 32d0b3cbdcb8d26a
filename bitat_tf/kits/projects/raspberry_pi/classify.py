"""Classifies a picture with the network: python classify.py picture.png."""

import json
import sys
from pathlib import Path

import bitat_runtime
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if len(sys.argv) != 2:
    print("usage: python classify.py PICTURE", file=sys.stderr)
    sys.exit(2)
here = Path(__file__).parent
# What the network expects of pixels 0..255: scale * pixel + offset, after the channels were turned round if "reverse".
settings = json.loads((here / "settings.json").read_text("utf-8"))
interpreter = bitat_runtime.Interpreter(here / "model.tflite", num_threads=4)
taken, given = interpreter.input_details[0], interpreter.output_details[0]
_, height, width, channels = taken.shape

try:
    picture = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGBA")
except UnidentifiedImageError:
    sys.exit(f"{sys.argv[1]} is no picture that Pillow reads.")
except OSError as error:
    sys.exit(f"{sys.argv[1]} cannot be read: {error.strerror or error}.")
picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
side = min(picture.size)
left, top = (picture.width - side) // 2, (picture.height - side) // 2
picture = picture.crop((left, top, left + side, top + side)).resize((width, height), Image.Resampling.BILINEAR)
pixels = np.asarray(picture if channels == 3 else picture.convert("L")).reshape(1, height, width, channels)

if settings["reverse"]:
    pixels = pixels[..., ::-1]
values = pixels * np.array(settings["scale"])[:channels] + np.array(settings["offset"])[:channels]
values = values.astype(np.float32)
if taken.dtype != np.float32:
    limits = np.iinfo(taken.dtype)
    scale, zero_point = taken.scale or 1.0, taken.zero_point or 0
    if settings["takes_bytes"]:  # the pixels themselves, less 128 for int8, whatever the tensor's scale
        scale, zero_point = 1.0, limits.min
    values = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max).astype(taken.dtype)

scores = np.asarray(interpreter.predict(values))[0]
if given.scale is not None:
    scores = given.scale * (scores.astype(np.float32) - given.zero_point)
labels = (here / "labels.txt").read_text("utf-8").splitlines()
for place, index in enumerate(np.argsort(-scores, kind="stable")[:5], 1):
    print(f"{place}. {labels[index]}  {scores[index]:.6g}")
