"""What the site adds to the pages: links out of docs/ lead to the repository; the command line's help stands in cli.md."""

import argparse
import re

REPOSITORY = "https://github.com/bitat-tf/bitat_tf/blob/main/"


def on_page_markdown(markdown, page, **_):
    """Return the text of a page as MkDocs shall read it."""
    if page.file.src_uri == "cli.md":
        return re.sub(r"<!-- help:(.*?)-->", lambda found: help_of(found[1].split()), markdown)
    # Pages in docs/ link to files beside it as they do in the repository.
    return re.sub(r"\]\(\.\./", f"]({REPOSITORY}", markdown)


def help_of(command):
    """Return the help of a command of `bitat-tf` as a block of code."""
    from bitat_tf.cli.options import build_parser

    parser = build_parser()
    for name in command:
        actions = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        parser = next(actions).choices[name]
    kind = parser.formatter_class
    parser.formatter_class = lambda prog: kind(prog, width=74)  # as wide as a page, wherever it is built
    return f"```text\n{parser.format_help()}```"
