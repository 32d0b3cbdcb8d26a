"""`bitat-tf check` and `bitat-tf summary`: what they print, as text and as JSON, and their exit codes."""

import json
import subprocess
import sys

import keras
import pytest

import bitat_tf
from bitat_tf import cli
from bitat_tf.inspection.model_summary import summary


def network(*layers):
    first = [keras.Input((8, 8, 3)), keras.layers.Conv2D(32, 3, name="first"), keras.layers.BatchNormalization()]
    return keras.Sequential([*first, *layers, keras.layers.Flatten(), keras.layers.Dense(2)], name="network")


@pytest.fixture
def binary(untrained):
    return untrained(network(bitat_tf.layers.BinaryConv2D(32, 3, name="binary")))


@pytest.fixture
def broken(untrained):
    layer = bitat_tf.layers.BinaryConv2D(32, 3, kernel_quantizer="ste_tern", name="ternary")
    return untrained(network(layer))


def test_check_prints_what_the_function_finds(binary, call):
    report = bitat_tf.check(keras.models.load_model(binary, compile=False))
    code, out, error = call("check", binary)
    assert (code, error) == (0, "")
    assert out == f"{report}\n"
    assert report.summary_line() in out
    code, out, _ = call("check", binary, "--json")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(report.to_dict()))
    assert json.loads(out)["ok"] is True


def test_errors_of_a_model_are_an_exit_code(broken, call):
    code, out, error = call("check", broken)
    assert (code, error) == (1, "")
    assert "1 error" in out
    code, out, _ = call("check", broken, "--json")
    assert code == 1
    content = json.loads(out)
    assert content["ok"] is False
    assert [finding["layer"] for finding in content["findings"] if finding["severity"] == "error"] == ["ternary"]


def test_summary_prints_what_the_function_returns(binary, call):
    expected = summary(keras.models.load_model(binary, compile=False))
    code, out, error = call("summary", binary)
    assert (code, error) == (0, "")
    assert out == f"{expected}\n"
    code, out, _ = call("summary", binary, "--json")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(expected.to_dict()))


@pytest.mark.parametrize("command", ["check", "summary"])
def test_a_float_network_is_told_what_comes_next(command, untrained, call):
    path = untrained(network(keras.layers.Conv2D(32, 3, name="middle")))
    code, out, error = call(command, path)
    assert (code, error) == (0, "")
    assert "1 layer can become binary, 2 stay float" in out
    assert "can be binary  middle\n" in out
    assert "bitat-tf binarize MODEL.keras --data DIR --out RUN" in out
    code, out, _ = call(command, path, "--json")
    assert code == 0
    outlook = json.loads(out)["outlook"]
    assert [layer["action"] for layer in outlook["plan"]] == ["float", "binary", "float"]
    assert outlook["binary_file_size"] < outlook["file_size"]


def test_in_a_terminal_the_table_is_as_wide_as_that(binary, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    assert cli.main(["check", str(binary)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 100  # with codes of colors


@pytest.mark.parametrize("command", ["check", "summary"])
def test_files_that_are_no_models(command, tmp_path, untrained, call):
    (tmp_path / "random.keras").write_bytes(b"no model")
    code, out, error = call(command, tmp_path / "random.keras", "--json")
    assert (code, out) == (2, "")
    assert error.startswith("bitat-tf: ")
    assert "is no .keras file" in error
    assert call(command, tmp_path / "missing.keras")[0] == 2
    deferred = keras.Sequential([keras.layers.Dense(3)])
    with pytest.warns(UserWarning, match="not yet been built"):
        path = untrained(deferred)
    code, _, error = call(command, path)
    assert code == 2
    assert "has no weights yet. Give its first layer an input shape" in error


@pytest.mark.slow
def test_python_dash_m(broken):
    result = subprocess.run([sys.executable, "-m", "bitat_tf.cli", "check", broken, "--json"], capture_output=True, check=False)
    assert result.returncode == 1
    assert json.loads(result.stdout)["model"] == "network"
