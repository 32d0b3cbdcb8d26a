"""The script for a Raspberry Pi shows the network what it was trained on; bitat_runtime has a stand-in."""

import os
import subprocess
import sys

import numpy as np
import pytest
from kit_files import (
    KINDS,
    PROJECTS,
    STAND_IN,
    assert_printed,
    expected_input,
    pixels_of_training,
    write_picture,
    write_stand_in_model,
)

from bitat_tf.kits.network import KitNetwork, TensorKind
from bitat_tf.kits.settings import settings_file, settings_of


@pytest.mark.parametrize(
    ("kind", "dtype", "scale", "zero"),
    [("imagenet", *KINDS[0]), ("caffe", *KINDS[1]), ("imagenet", *KINDS[2]), ("bytes", *KINDS[1]), ("bytes", *KINDS[2])],
)
def test_the_script_shows_the_network_what_it_was_trained_on(tmp_path, kind, dtype, scale, zero):
    (tmp_path / "classify.py").write_bytes((PROJECTS / "raspberry_pi/classify.py").read_bytes())
    taken, given = TensorKind((1, 6, 6, 3), dtype), TensorKind((1, 7), dtype)
    settings = settings_of(KitNetwork(b"", "größte\n", taken, given, (), None, {}), kind)
    (tmp_path / "settings.json").write_text(settings_file(settings, "settings.json"), "utf-8")
    write_stand_in_model(tmp_path, dtype, scale, zero)
    write_picture(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(STAND_IN / "python"), "STAND_IN_DUMP": str(tmp_path / "seen.npy")}
    command = [sys.executable, tmp_path / "classify.py", "a.png"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    values = expected_input(pixels_of_training(tmp_path / "a.png", side=6, channels=3)[0], kind, dtype, scale, zero)
    np.testing.assert_array_equal(np.load(tmp_path / "seen.npy")[0], values)
    assert_printed(done.stdout.splitlines(), values, dtype, scale, zero)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "usage: python classify.py PICTURE\n"),
        (["settings.json"], 1, "settings.json is no picture that Pillow reads.\n"),
        (["none.png"], 1, "none.png cannot be read: No such file or directory.\n"),
        (["cut.png"], 1, "cut.png cannot be read: image file is truncated"),
    ],
)
def test_the_script_says_what_is_wrong_in_a_line(tmp_path, arguments, code, message):
    (tmp_path / "classify.py").write_bytes((PROJECTS / "raspberry_pi/classify.py").read_bytes())
    settings = settings_of(
        KitNetwork(b"", "n", TensorKind((1, 6, 6, 3), "float32"), TensorKind((1, 7), "float32"), (), None, {}), "0..1"
    )
    (tmp_path / "settings.json").write_text(settings_file(settings, "settings.json"), "utf-8")
    write_stand_in_model(tmp_path)
    write_picture(tmp_path)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-200])
    environment = {**os.environ, "PYTHONPATH": str(STAND_IN / "python")}
    command = [sys.executable, tmp_path / "classify.py", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
