"""Reading a `.tflite` file of unknown origin."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitat_tf._printable import printable
from bitat_tf._tables import ShownAsTable
from bitat_tf.tflite_file.content import check_identifier, check_seal, facts, parse
from bitat_tf.tflite_file.engines import available_engines
from bitat_tf.tflite_file.running import ChildFailure, probe
from bitat_tf.tflite_file.schema import schema
from bitat_tf.tflite_file.structure import check_structure

_LARGEST = 2**31  # offsets in the file are of 32 bits


@dataclass(frozen=True)
class TfliteFile(ShownAsTable):
    """A file that has been read and found whole.

    Attributes:
        path: Where it stands.
        content: Its bytes.
        model: Its objects.
        sealed: Whether it has a seal of bitat_tf, which the content agrees with.
        facts: What bitat_tf wrote into it beside the network; empty in other files.
        engine: What was asked whether it takes the file: "bitat-runtime", or "larq-compute-engine"; None if none is installed.
        obstacle: Why that does not take it; None if it does.
    """

    path: str
    content: bytes
    model: schema.ModelT
    sealed: bool
    facts: dict[str, Any]
    engine: str | None
    obstacle: str | None


def read(path: str | os.PathLike) -> TfliteFile:
    """Read a `.tflite` file, of this library or of any other origin, and see whether it is whole.

    A sealed file is compared with its seal. Then a process of its own reads it all and lets bitat-runtime or
    larq-compute-engine, where one of them is installed, prepare it, as native code may crash on a damaged one; then it is seen
    whether its parts fit together.

    Args:
        path: The file.

    Returns:
        A `TfliteFile`. A network that the engine does not take (an operator that it does not know, ...) is read all the
        same; `obstacle` says why.

    Raises:
        ValueError: If it is no `.tflite` file, or a damaged one; the message names the file and what was found.
        OSError: If it cannot be opened.

    Examples:
        >>> model = bitat_tf.applications.ReActNet((8, 8, 1), 10, width=0.5, blocks=((64, 1),))
        >>> for layer in bitat_tf.layers.binary_layers(model):
        ...     layer.set_binary()
        >>> report = bitat_tf.export.to_tflite(model, os.path.join(folder, "model.tflite"))
        >>> file = read(os.path.join(folder, "model.tflite"))
        >>> len(file.content) == report.size, file.obstacle
        (True, None)
    """
    try:
        content = _content(Path(path))
        check_identifier(content)
        sealed = check_seal(content)
        engine = next(iter(available_engines()), None)
        obstacle = _probe(content, engine)
        model = parse(content)
        check_structure(model)
        return TfliteFile(str(path), content, model, sealed, _facts(model, sealed), engine, obstacle)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device may have no end
        raise ValueError("expected a .tflite file. Received: a pipe or a device.")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        check_identifier(file.read(8))  # before all of a large file is read
        if size >= _LARGEST:
            raise ValueError(f"expected a .tflite file of less than {_LARGEST:,} bytes. Received: {size:,} bytes.")
        file.seek(0)
        return file.read()


def _probe(content: bytes, engine: str | None) -> str | None:
    try:
        obstacle = probe(content, engine)
        return None if obstacle is None else printable(obstacle)
    except ChildFailure as failure:
        raise ValueError(
            f"expected a .tflite file that is whole. Received: one that cannot be read ({printable(failure.reason)}). It is "
            "damaged: export it again, or copy it again from where it came."
        ) from failure


def _facts(model: schema.ModelT, sealed: bool) -> dict[str, Any]:
    try:
        found = facts(model)
    except (ValueError, TypeError) as error:  # of JSON and UTF-8; of a buffer that is not there
        raise ValueError(_broken_seal(str(error))) from error
    if bool(found) > sealed:
        raise ValueError(_broken_seal("it has no digest"))
    return found


def _broken_seal(what: str) -> str:
    return (
        f"expected a .tflite file as bitat_tf wrote it. Received: one whose seal is damaged ({what}). Export it again, or copy "
        "it again from where it came."
    )
