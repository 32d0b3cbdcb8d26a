"""What is installed: the library, or a clear word that it is missing; the versions; the command."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RUNTIME

import bitat_runtime
from bitat_runtime.__main__ import main


def test_the_package_imports_neither_tensorflow_nor_litert():
    code = "import sys, bitat_runtime; bitat_runtime.delegate(); print({'tensorflow', 'ai_edge_litert'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_without_its_library_the_package_says_how_to_get_it(tmp_path):
    package = Path(bitat_runtime.library_path()).parent
    shutil.copytree(RUNTIME / "bitat_runtime", tmp_path / "bitat_runtime", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import bitat_runtime
print(bitat_runtime.delegate(library={str(bitat_runtime.library_path())!r}).kernel)
try:
    bitat_runtime.delegate()
except ImportError as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=package).stdout
    kernel, message = output.splitlines()
    assert kernel == bitat_runtime.delegate().kernel
    for way in ("apt-get install g++", "pip install -v --force-reinstall", "install a wheel", "library=PATH"):
        assert way in message


def test_a_library_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.so' is no file"):
        bitat_runtime.delegate(library=tmp_path / "missing.so")
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(OSError, match="text.so cannot be loaded here"):
        bitat_runtime.delegate(library=tmp_path / "text.so")
    other = next(Path("/lib").glob("*-linux-gnu*/libm.so.6"), None)
    if other is not None:
        with pytest.raises(ValueError, match="has no function tflite_plugin_create_delegate"):
            bitat_runtime.delegate(library=other)


def test_all_say_the_same_version():
    assert importlib.metadata.version("bitat-runtime") == bitat_runtime.__version__
    project = re.search(r"project\(bitat_delegate VERSION ([\d.]+)", (RUNTIME / "CMakeLists.txt").read_text())
    assert project[1] == bitat_runtime.__version__


def test_the_command_prints_times_and_the_profile(small_network, capsys):
    assert main([str(small_network.path), "--runs", "3", "--profile", "--threads", "1", "--fusion", "off"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^time +[\d.]+ ms, the median of 3 runs", output, re.MULTILINE)
    assert re.search(r"^input +serving_default_picture:0 float32 \[1, 8, 8, 40\]$", output, re.MULTILINE)
    assert len(re.findall(r"^LceBconv2d +\d+ +\S+ +3 ", output, re.MULTILINE)) == 2


def test_the_command_reports_errors_in_one_line(tmp_path, capsys, small_network):
    assert main([str(tmp_path / "missing.tflite")]) == 1
    assert "missing.tflite is not a file" in capsys.readouterr().err
    assert main([str(small_network.path), "--kernel", "sse"]) == 1
    assert "sse" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(small_network.path), "--runs", "0"])
    assert "expected 1 or more" in capsys.readouterr().err
