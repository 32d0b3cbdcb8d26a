"""Names of steps on their way through TensorFlow's converter."""

SCOPE = "s/"  # before the names of steps: some have a first character that TensorFlow takes for no scope


def scope(name: str) -> str:
    """Return a step's name as one that TensorFlow takes for a scope.

    Examples:
        >>> scope("block/conv 1")
        's/block/conv_1'
    """
    return SCOPE + "".join(one if (one.isalnum() and one.isascii()) or one in "_./-" else "_" for one in name)
