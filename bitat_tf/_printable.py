"""Names from files and folders as they can be shown: nothing in them controls a terminal, and none is longer than a page."""

import re
import unicodedata
from typing import Any

MOST = 4_000
"""Characters of a message: more is cut in its middle."""

_SURROGATE = re.compile("[\ud800-\udfff]")
# Control characters, halves of a character (from file names that are no UTF-8), ends of a line and of a paragraph.
_NO_TEXT = frozenset(("Cc", "Cs", "Zl", "Zp"))
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they turn what follows


def printable(text: str, lines: bool = False) -> str:
    r"""Return a text with an escape sequence, as of Python, in the place of all that is no character of a line.

    Bytes of file names that are no UTF-8, which Python keeps as halves of characters, are shown as these bytes.

    Args:
        text: The text.
        lines: Whether it may have several lines, and tabs in them.

    Examples:
        >>> printable("größte Maus"), printable("two\nlines"), printable("\x1b]0;title\x07"), printable("caf\udce9")
        ('größte Maus', 'two\\nlines', '\\x1b]0;title\\x07', 'caf\\xe9')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if lines and one in "\n\t" or _is_text(one) else _escaped(one) for one in text)


def shortened(text: str, most: int = MOST) -> str:
    """Return a text of at most about `most` characters: of a longer one beginning and end, and how much was left out.

    Examples:
        >>> shortened("a" * 70, 20)
        'aaaaaaaaaa ... (50 characters more) ... aaaaaaaaaa'
    """
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... ({len(text) - 2 * half:,} characters more) ... {text[-half:]}"


def message(text: str) -> str:
    """Return what is said to a user, in one or several lines, `printable` and `shortened`."""
    return printable(shortened(text), lines=True)


def in_legend(text: str) -> str:
    r"""Return a name as a legend of Matplotlib shows it, which takes a part between two $ for mathematics.

    Examples:
        >>> print(in_legend("US$"))
        US\$
    """
    return text.replace("$", r"\$")


def readable(text: str) -> str:
    r"""Return a name as it can be written: bytes of a file's name that are no UTF-8 escaped, which Python keeps as surrogates.

    Examples:
        >>> print(readable(os.fsdecode(b"caf\xe9.png")))
        caf\xe9.png
    """
    return _SURROGATE.sub(lambda half: _escaped(half[0]), text)


def readable_values(content: Any) -> Any:
    """Return what JSON can hold with all its texts `readable`."""
    if isinstance(content, dict):
        return {readable_values(key): readable_values(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [readable_values(value) for value in content]
    return readable(content) if isinstance(content, str) else content


def _escaped(character: str) -> str:
    return ascii(character)[1:-1].replace(r"\udc", r"\x")


def _is_text(character: str) -> bool:
    return unicodedata.category(character) not in _NO_TEXT and character not in _DIRECTIONS
