"""Too little memory and full disks, in words: what TensorFlow and the system say of them names functions of theirs."""

import errno
import os
import re
import sys

_GIB = 2**30
_TO_LOAD, _TO_TRAIN = 2 * _GIB, 4 * _GIB  # of addresses: measured with TensorFlow 2.21, rounded up
_SMALLER = "Free some, raise the limit, or pass a smaller --batch-size, --image-size, --width, --subset or --calibration."
_OF_TENSORFLOW = re.compile(r"\{\{.*?\}\}\s*|\s*\[Op:\w+\]")  # functions and operators that it names
_FULL = os.strerror(errno.ENOSPC)


def memory_limit() -> int | None:
    """Return the bytes of addresses that the process may have (`ulimit -v`); None without a limit."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def check_memory_limit(trains: bool) -> str:
    """Return what is to be said of a limit of memory under which TensorFlow may crash, without a message of its own.

    Args:
        trains: Whether the command trains.

    Raises:
        MemoryError: If it cannot even be loaded.
    """
    limit = memory_limit()
    if limit is None or limit >= (_TO_TRAIN if trains else _TO_LOAD):
        return ""
    received = f"Received: a limit of {limit / _GIB:.2g} GiB (ulimit -v). Raise it: ulimit -v unlimited."
    if limit < _TO_LOAD:
        raise MemoryError(f"TensorFlow takes {_TO_LOAD // _GIB} GiB of addresses to be loaded. {received}")
    return (
        f"bitat-tf: a training takes about {_TO_TRAIN // _GIB} GiB of addresses, without which TensorFlow crashes. {received}\n"
    )


def in_words(error: Exception) -> str:
    """Return what is said of an error that a user can mend."""
    text = _OF_TENSORFLOW.sub("", str(error).strip())
    if isinstance(error, OSError) and "free some space" in text.lower():
        return text
    if _FULL in text:
        place = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return (
            f"a disk is full{place}: {_FULL}. Free some space in the folder that is written, and in the temporary one (TMPDIR)."
        )
    tensorflow = sys.modules.get("tensorflow")
    if isinstance(error, MemoryError) or (tensorflow and isinstance(error, tensorflow.errors.ResourceExhaustedError)):
        what = text.splitlines()[0].rstrip(".") if text else "no more is to be had"
        return text if "ulimit" in text else f"there is too little memory: {what}. {_SMALLER}"
    return text
