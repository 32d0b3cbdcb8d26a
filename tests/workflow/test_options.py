"""Options: one declaration from which the parser, the checks, the defaults and the help come."""

import argparse
from dataclasses import dataclass, fields

import pytest

from bitat_tf.applications.reactnet import REACTNET_A_BLOCKS
from bitat_tf.cli import build_parser
from bitat_tf.workflow import BinarizeConfig, TrainConfig
from bitat_tf.workflow.options import add_options, check_options, option, option_name, options_of
from bitat_tf.workflow.settings import MOST_BLOCKS, Settings


@dataclass(frozen=True)
class Example:
    share: float = option(0.5, "a share of 100 %", metavar="SHARE", exclusive=True, maximum=1.0, folders=0.25)
    count: int | None = option(None, "how many", minimum=2, otherwise="all")
    kind: str = option("a", "which", choices=("a", "b"), group="kinds")
    names: tuple[str, ...] = option((), "some names")
    scales: tuple[float, ...] = option((1.0, 2.0), "some scales")
    quick: bool = option(False, "whether")
    hidden: int = 3


def parser_of(settings, **chosen):
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    add_options(parser, settings, **chosen)
    return parser


def test_the_parser_has_the_types_of_the_fields_and_gives_only_what_was_said():
    parser = parser_of(Example)
    assert vars(parser.parse_args([])) == {}
    given = "--share 0.1 --count 4 --kind b --names x --names y --scales 1 2.5 --quick".split()
    values = vars(parser.parse_args(given))
    assert values == {"share": 0.1, "count": 4, "kind": "b", "names": ["x", "y"], "scales": [1.0, 2.5], "quick": True}
    for wrong in (["--kind", "c"], ["--count", "1.5"], ["--hidden", "1"]):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(wrong)


def test_the_help_says_the_defaults():
    text = " ".join(parser_of(Example).format_help().split())
    assert "a share of 100 % (default 0.25, digits 0.5)" in text
    assert "how many (default: all)" in text
    assert "kinds: --kind {a,b} which (default a)" in text
    assert "--scales X [X ...] some scales (default 1 2)" in text
    assert "--quick whether --" not in text.split("options:")[0]
    assert "whether (default" not in text


def test_some_of_them():
    assert set(vars(parser_of(Example, only=("quick",)).parse_args(["--quick"]))) == {"quick"}
    with pytest.raises(SystemExit, match="2"):
        parser_of(Example, without=("quick",)).parse_args(["--quick"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 0.0}, "example: `share` must be a finite number > 0 and <= 1. Received: share=0.0"),
        ({"share": 1.5}, "> 0 and <= 1. Received: share=1.5"),
        ({"count": 1}, "`count` must be a finite number >= 2. Received: count=1"),
        ({"kind": "c"}, "`kind` must be one of 'a', 'b'. Received: kind='c'"),
        ({"scales": (1.0, -1.0)}, "`scales` must be a finite number >= 0. Received: scales=-1.0"),
    ],
)
def test_values_are_checked_by_what_is_declared(values, message):
    check_options("example", Example())
    with pytest.raises(ValueError, match="example: .*") as caught:
        check_options("example", Example(**values))
    assert message in str(caught.value)


@pytest.mark.parametrize(("command", "settings"), [("train", TrainConfig), ("binarize", BinarizeConfig)])
def test_what_is_declared_is_what_the_commands_take(command, settings):
    """And what a run stores, but for what the command finds out itself."""
    text = build_parser()._subparsers._group_actions[0].choices[command].format_help()
    for name in options_of(settings):
        assert f"{option_name(name)} " in text.replace("\n", " \n") or f"{option_name(name)}]" in text, name
    stored = {one.name for one in fields(settings)}
    assert stored - set(options_of(settings)) == {"validation_share"} | ({"model", "sha256"} & stored)
    assert issubclass(settings, Settings)


def test_a_reactnet_has_as_many_blocks_as_reactnet_a():
    assert len(REACTNET_A_BLOCKS) == MOST_BLOCKS
