"""The calls of layers in a saved model, looked at before Keras makes them: some would be made without end.

Keras tries the calls of a model again and again until all inputs are there; before Keras 3.14 also where they never will be. A
model that calls another one twice, which calls another one twice, ... is short in a file and long to build.

Plain Python: also for the process of `keras2_child`, into which nothing of this package is imported.
"""

from collections.abc import Iterator
from typing import Any

MOST_CALLS = 50_000
"""Calls of layers, tries among them, that a file may ask for; the largest of Keras' applications makes about 1,000."""

_NOT_KERAS = ". Keras writes no such model: save it again"
_Call = tuple[int, int]  # position of the layer in its model, number of its call


def check_graph(config: Any, limited: bool = True) -> None:
    """Raise unless Keras comes to an end with all models of a configuration.

    Args:
        config: As Keras 3 or Keras 2 write it.
        limited: Whether `MOST_CALLS` holds.

    Raises:
        ValueError: If a call reads itself, a later one or one that is not there, or there are too many; says what, not where.

    Examples:
        >>> nodes = [{"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["a", 0, 0]}}], "kwargs": {}}]
        >>> layers = [{"class_name": "ReLU", "name": "a", "config": {}, "inbound_nodes": nodes}]
        >>> check_graph({"class_name": "Functional", "config": {"layers": layers, "input_layers": [], "output_layers": []}})
        Traceback (most recent call last):
        ...
        ValueError: layer a reads its own output, or that of a layer which reads it. Keras writes no such model: save it again
    """
    calls = _calls_of(config)
    if limited and calls > MOST_CALLS:
        raise ValueError(
            f"its models call layers {_count(calls)} times. Expected: at most {MOST_CALLS:,} times; more if you trust the file "
            "and say so: --any-size, in Python any_size=True"
        )


def _calls_of(value: Any) -> int:
    """Return how many calls of layers are made and tried where every model in a value is called once."""
    if isinstance(value, list):
        return sum(map(_calls_of, value))
    if not isinstance(value, dict):
        return 0
    config = value.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        return sum(map(_calls_of, value.values()))
    layers = [layer for layer in config["layers"] if isinstance(layer, dict)]
    calls = [max(1, _calls_of(layer)) for layer in layers]
    if "input_layers" not in config:  # Sequential
        return sum(calls)
    rounds = _rounds(layers)
    return sum(own * max(1, len(numbers)) + max(numbers, default=1) - 1 for own, numbers in zip(calls, rounds, strict=True))


def _rounds(layers: list[dict[str, Any]]) -> list[list[int]]:
    """Return for each call of each layer of a functional model in which round over all layers Keras comes to make it."""
    positions: dict[str, int] = {}
    for position, layer in enumerate(layers):
        if positions.setdefault(_name(layer), position) != position:
            raise ValueError(f"two layers of one model are named {_name(layer)}{_NOT_KERAS}")
    nodes = [layer["inbound_nodes"] if isinstance(layer.get("inbound_nodes"), list) else [] for layer in layers]
    there = [_is_there(layer, own) for layer, own in zip(layers, nodes, strict=True)]
    missing: dict[_Call, int] = {}
    readers: dict[_Call, list[_Call]] = {}
    for reader in ((position, number) for position, own in enumerate(nodes) for number in range(len(own))):
        position, number = reader
        needed = [(position, number - 1)] if number else []  # the calls of a layer are made in turn
        for name, index in _read(nodes[position][number], positions):
            source = positions.get(name)
            if source is None or not 0 <= index < there[source] + len(nodes[source]):
                raise ValueError(f"layer {_name(layers[position])} reads call {index} of {name}, which is not made{_NOT_KERAS}")
            if index >= there[source]:
                needed.append((source, index - there[source]))
        missing[reader] = len(needed)
        for call in needed:
            readers.setdefault(call, []).append(reader)
    rounds = dict.fromkeys(missing, 1)
    ready = [call for call, count in missing.items() if not count]
    while ready:
        call = ready.pop()
        for reader in readers.get(call, ()):
            rounds[reader] = max(rounds[reader], rounds[call] + (call[0] > reader[0]))
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    endless = [call for call, count in missing.items() if count]
    if endless:
        raise ValueError(
            f"layer {_name(layers[endless[0][0]])} reads its own output, or that of a layer which reads it{_NOT_KERAS}"
        )
    return [[rounds[position, number] for number in range(len(own))] for position, own in enumerate(nodes)]


def _is_there(layer: dict[str, Any], nodes: list[Any]) -> int:
    """Return how many calls a layer has before Keras makes any: an input layer, and with Keras 2 a model that has inputs."""
    if layer.get("class_name") == "InputLayer":
        return 1
    config = layer.get("config")
    if not isinstance(config, dict):
        return 0
    layers = config.get("layers")
    if not isinstance(layers, list) or not all(isinstance(node, list) for node in nodes):
        return 0
    first = layers[0] if layers and isinstance(layers[0], dict) else {}
    return int("input_layers" in config or first.get("class_name") == "InputLayer")


def _read(node: Any, names: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the layer and the number of each call whose output a call reads.

    Keras 3 writes ["name", call, output] in the history of a tensor, Keras 2 without it, with arguments behind.
    """
    waiting = [node]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            history = value.get("keras_history")
            if isinstance(history, list) and len(history) == 3 and isinstance(history[0], str) and type(history[1]) is int:
                yield history[0], history[1]
            waiting += value.values()
        elif isinstance(value, list):
            if isinstance(node, list) and len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int:
                if value[0] in names:
                    yield value[0], value[1]
            waiting += value


def _name(layer: dict[str, Any]) -> str:
    config = layer.get("config")
    return str(layer.get("name") or (config.get("name") if isinstance(config, dict) else None))


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**9 else f"{float(number):.0e}" if number < 10**300 else "more than 1e300"
