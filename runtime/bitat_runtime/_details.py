"""What an interpreter says of a file's inputs and outputs, in a form of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TensorDetails:
    """One input or output of a file.

    Attributes:
        name: The name in the file: `serving_default_image:0`.
        shape: The shape with the batch, as the file has it. -1 where the file leaves a dimension open.
        dtype: The type of its numbers.
        scale: Step between two quantized numbers; None if the tensor is not quantized.
        zero_point: The quantized number that stands for 0; None if the tensor is not quantized.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float | None
    zero_point: int | None
    _index: int = field(repr=False, compare=False)

    @classmethod
    def from_engine(cls, details: Mapping[str, Any]) -> TensorDetails:
        """Read an element of `get_input_details()` or `get_output_details()`."""
        scale, zero_point = details["quantization"]
        # A scale of 0 is how the interpreters say that a tensor is not quantized.
        quantized = scale != 0
        signature = details.get("shape_signature", details["shape"])
        return cls(
            name=details["name"],
            shape=tuple(int(n) for n in (signature if len(signature) else details["shape"])),
            dtype=np.dtype(details["dtype"]),
            scale=float(scale) if quantized else None,
            zero_point=int(zero_point) if quantized else None,
            _index=int(details["index"]),
        )

    @property
    def short_name(self) -> str:
        """The name without what the converter put around it: `image`."""
        return self.name.removeprefix("serving_default_").rsplit(":", 1)[0]

    def __str__(self) -> str:
        text = f"{self.name} {self.dtype} {list(self.shape)}"
        return text if self.scale is None else f"{text}, scale {self.scale:g}, zero point {self.zero_point}"
