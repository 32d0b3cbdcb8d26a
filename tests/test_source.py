"""Rules of the source itself; each failure says why."""

import ast
import re
from pathlib import Path

import pytest

import bitat_tf

PACKAGE = Path(bitat_tf.__file__).parent
# The projects of the kits are programs of their own, which run where bitat_tf is not installed.
FILES = sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "kits" / "projects" not in path.parents)


def ids(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_source(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 300, "a file has one responsibility: split it"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), "assert vanishes with python -O: raise ValueError or TypeError"
        assert not isinstance(node, ast.Global), "no global mutable settings"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, "name what is caught"
            assert ast.unparse(node.type) not in ("Exception", "BaseException"), "name what is caught"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", "use rich's console, or sys.stdout in the command line"
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), "no star imports"
            assert not (node.module or "").startswith("tensorflow.python"), "no private TensorFlow"


# Rooms from the bottom to the top; a file imports from its own room and from those before it.
ROOMS = ["_lazy", "_saved_models", "_validation", "_printable", "_files", "_pixels", "_tables", "_tracing", "_converter"]
ROOMS += ["_unreadable", "_console", "model_graph", "tflite_file", "dependency", "quantizers"]
ROOMS += ["_disentangled_error", "regularizers", "layers", "inspection", "calibration", "callbacks", "distillation", "analysis"]
BESIDE_EACH_OTHER = ("conversion", "post_training", "applications", "export", "data", "importing")
TOP = [*BESIDE_EACH_OTHER, "deployment", "kits", "workflow", "cli"]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_one_direction_of_imports(path):
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0].removesuffix(".py")
    imported = set(re.findall(r"^(?:from|import) bitat_tf\.(\w+)", path.read_text(), re.MULTILINE))
    if room == "__init__":
        return
    if room in ROOMS:
        allowed = {*ROOMS[: ROOMS.index(room) + 1]}
    elif room in BESIDE_EACH_OTHER:
        allowed = {*ROOMS, room}
    else:
        assert room in TOP, f"{room} has no place in the order of imports: give it one here"
        allowed = {*ROOMS, *TOP}
    assert imported <= allowed, "imports go one way: mathematics <- quantizers, regularizers <- layers <- callbacks <- the rest"


# What trains runs on every backend of Keras; these files have a branch for TensorFlow.
OF_A_BACKEND = ("_converter.py", "_tracing.py", "calibration/jacobian.py", "callbacks/summaries.py")
TRAINS = (
    "quantizers",
    "layers",
    "calibration",
    "callbacks",
    "dependency",
    "analysis",
    "conversion",
    "post_training",
    "inspection",
)


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_what_trains_needs_no_tensorflow(path):
    relative = path.relative_to(PACKAGE)
    imports = re.findall(r"^\s*(?:import|from) (tensorflow|tf_keras|larq)\b", path.read_text(), re.MULTILINE)
    assert not {"larq"} & {*imports}, "Larq is for comparison, in the tests"
    if (relative.parts[0] in TRAINS or len(relative.parts) == 1) and str(relative) not in OF_A_BACKEND:
        assert not imports, "use keras.ops"
