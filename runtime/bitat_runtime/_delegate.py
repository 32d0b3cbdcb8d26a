"""The delegate as an object that the interpreters of TensorFlow Lite and LiteRT take."""

from __future__ import annotations

import ctypes
import operator
import os
from collections.abc import Sequence
from typing import NoReturn

from bitat_runtime._library import ReportError, load
from bitat_runtime._profile import Profile


class Delegate:
    """Runs the binary operators of the interpreters that it is given to. Made by `delegate()`.

    An interpreter keeps the delegates of its list alive, so nothing more than the list has to be kept. One delegate may
    serve several interpreters, also at the same time: one of them then has its threads, and they share `last_error` and
    the profile.
    """

    _pointer = 0  # there is none to free if __init__ fails

    def __init__(self, native: ctypes.CDLL, options: dict[str, str]):
        reports: list[str] = []
        keys = (ctypes.c_char_p * len(options))(*(key.encode() for key in options))
        values = (ctypes.c_char_p * len(options))(*(value.encode() for value in options.values()))
        report = ReportError(lambda text: reports.append(text.decode(errors="replace")))
        self._native = native
        self._pointer = native.tflite_plugin_create_delegate(keys, values, len(options), report) or 0
        if not self._pointer:
            raise ValueError(" ".join(reports) or f"The library refused the options {options} and gave no reason.")

    def _get_native_delegate_pointer(self) -> int:
        """Return the address of the TfLiteDelegate: what interpreters ask a delegate for."""
        if not self._pointer:
            raise ValueError("This delegate has ended and cannot be used any more. Make another one: bitat_runtime.delegate().")
        return self._pointer

    def __reduce__(self) -> NoReturn:
        # What copy and pickle ask for: a second object would free the native one again.
        raise TypeError(
            "A bitat_runtime.Delegate cannot be copied or pickled: it holds native memory. Give one delegate to several "
            "interpreters, or make another one: bitat_runtime.delegate()."
        )

    def __del__(self) -> None:
        # The garbage collector may come here before it takes down an interpreter that still uses the delegate, where both
        # are in one reference cycle. The library keeps what interpreters use until the last of them is gone.
        if self._pointer:
            self._native.tflite_plugin_destroy_delegate(self._pointer)
            self._pointer = 0

    @property
    def kernel(self) -> str:
        """The kernels that are used: one of `families`."""
        return self._native.bitat_kernel(self._get_native_delegate_pointer()).decode()

    @property
    def families(self) -> tuple[str, ...]:
        """The kernels that this processor can run, from the slowest to the fastest."""
        return tuple(self._native.bitat_kernel_families().decode().split(","))

    @property
    def last_error(self) -> str:
        """What was refused or failed at last, "" if nothing: `LceBconv2d (node 7): ...`."""
        return self._native.bitat_last_error(self._get_native_delegate_pointer()).decode(errors="replace")

    def profile(self) -> Profile:
        """Return what each step took since the last reset. Not to be called while an interpreter runs.

        Without `profile=True` the steps are listed with no times.
        """
        size = self._native.bitat_profile(pointer := self._get_native_delegate_pointer(), None, 0)
        while True:
            buffer = ctypes.create_string_buffer(size)
            needed = self._native.bitat_profile(pointer, buffer, size)
            if needed <= size:
                return Profile.from_json(buffer.value.decode(errors="replace"))
            size = needed

    def reset_profile(self) -> None:
        """Forget the times measured until now. Not to be called while an interpreter runs."""
        self._native.bitat_reset_profile(self._get_native_delegate_pointer())

    def __repr__(self) -> str:
        return (
            f"<bitat_runtime.Delegate with {self.kernel} kernels>"
            if self._pointer
            else "<bitat_runtime.Delegate that has ended>"
        )


def delegate(
    num_threads: int = 0,
    kernel: str = "auto",
    fusion: str | Sequence[str] = "on",
    profile: bool = False,
    library: str | os.PathLike[str] | None = None,
) -> Delegate:
    """Make a delegate that runs larq-compute-engine's operators in a stock TFLite or LiteRT interpreter.

    Args:
        num_threads: Threads for the binary operators, 1 to 256; 0: as many as the interpreter has.
        kernel: "auto", the fastest that this processor can run, or one of `kernel_families()`.
        fusion: Which float operators between binary ones run as a part of those: "on" (all that can), "off", or some of
            "residual", "prelu", "quantize" and "concat".
        profile: Measure each step, for `Delegate.profile()`. Costs some time.
        library: A `libbitat_delegate` to use; None: the one that is installed with this package.

    Returns:
        What goes into the list `experimental_delegates` of an interpreter of `tf.lite` or `ai_edge_litert`.

    Raises:
        ImportError: The package was installed without its library.
        ValueError: An option has a value that it cannot have, or the library is another one.
        OSError: The library is not there or cannot be loaded.

    Examples:
        ```python
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter("model.tflite", experimental_delegates=[bitat_runtime.delegate()])
        ```
    """
    options = {
        "num_threads": str(operator.index(num_threads)),
        "kernel": kernel,
        "fusion": fusion if isinstance(fusion, str) else ",".join(fusion),
        "profile": "1" if profile else "0",
    }
    return Delegate(load(library), options)
