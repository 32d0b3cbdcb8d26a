"""The documentation site builds without a warning, and every public name is on it."""

import html
import importlib
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [
    "bitat_tf",
    *(
        f"bitat_tf.{name}"
        for name in (
            "analysis",
            "applications",
            "calibration",
            "callbacks",
            "conversion",
            "data",
            "dependency",
            "deployment",
            "distillation",
            "export",
            "importing",
            "inspection",
            "kits",
            "layers",
            "post_training",
            "quantizers",
            "regularizers",
            "tflite_file",
            "workflow",
            "workflow.experiments",
        )
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def documented(site):
    """Names of all objects on the site, as Sphinx' inventory lists them."""
    content = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ")[0] for line in zlib.decompress(content).decode().splitlines()}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_on_the_site(package, documented):
    module = importlib.import_module(package)
    missing = []
    for name in module.__all__:
        thing = getattr(module, name)
        # Of functions in modules of their own name ("dump.dump") the full path is on the site.
        names = {f"{package}.{name}", f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"}
        if not names & documented and type(thing).__name__ != "module" and name != "__version__":
            missing.append(name)
    assert not missing


def test_a_new_package_is_looked_at():
    packages = {path.parent.name for path in (ROOT / "bitat_tf").glob("*/__init__.py") if "__all__" in path.read_text()}
    inside = {"cli", "model_graph"}  # what users do not import
    assert packages - inside <= {package.split(".")[1] for package in PACKAGES[1:]}


def test_pages_have_text_and_links_that_lead_somewhere(site):
    pages = list(site.rglob("index.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text()
        assert len(re.sub(r"<[^>]*>", "", text)) > 500, page
        for link in re.findall(r'href="([^"#:]+)(?:#[^"]*)?"', text):
            if not link.startswith("/"):
                target = (page.parent / link).resolve()
                assert target.exists(), f"{page}: {link}"


def test_the_command_line_page_has_every_command_and_option(site):
    from bitat_tf.cli.options import build_parser

    text = html.unescape(re.sub(r"<[^>]*>", "", (site / "cli" / "index.html").read_text()))

    def look(parser):
        kind = parser.formatter_class
        parser.formatter_class = lambda prog: kind(prog, width=74)
        children = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
        assert parser.format_help() in text or parser.prog == "bitat-tf experiment", parser.prog
        for one in (one for choices in children for one in choices.values()):
            look(one)

    look(build_parser())


def test_examples_are_shown_as_they_stand(site):
    """Doctests are code on the page, not Markdown."""
    text = re.sub(r"<[^>]*>", "", (site / "api" / "layers" / "index.html").read_text())
    assert "&gt;&gt;&gt; tuple(layer(keras.ops.ones((1, 8, 8, 4))).shape)" in text
