"""What a converter makes of a model."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Conversion:
    """A file that is not written yet.

    Attributes:
        model: Its objects, a `ModelT` of the flatbuffer schema.
        expected_binary: Number of calls of binary layers, each of which is one `LceBconv2d`.
        takes_bytes: Whether its int8 or uint8 input are the bytes of pictures.
    """

    model: Any
    expected_binary: int
    takes_bytes: bool = False
