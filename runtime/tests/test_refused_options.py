"""Custom options that the delegate cannot take: the message names the operator, its node and the option."""

import pytest
from damage import check_refused, convolution, pooling, with_custom, with_option
from flatbuffers import flexbuffers

OPTIONS = {
    f"{name} {value}": (with_option(name, value), name)
    for name, values in {
        "stride_height": (0, -1, -(2**31), 2**31, 2**40, -(2**63)),
        "stride_width": (0, -3, 2**33),
        "dilation_height_factor": (0, -1, 2**31, 2**31 - 1),
        "dilation_width_factor": (0, -1, 2**62),
        "padding": (2, -1, 2**32),
        "pad_values": (2, -1),
        "channels_in": (0, -1, 33 * 2, 2**31, 2**32 + 40),
        "fused_activation_function": (4, 5, -1, 2**32),
    }.items()
    for value in values
}
REASONS = {"channels_in": "channels|words", "dilation_height_factor": "dilation", "fused_activation_function": "activation"}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_out_of_range(case):
    """TANH, SIGN_BIT and unknown activations as well: larq-compute-engine passes over them, which no user can want."""
    change, name = OPTIONS[case]
    graph = convolution()
    change(graph)
    check_refused(graph, "LceBconv2d", 1, REASONS.get(name, name))


@pytest.mark.parametrize("name", sorted(convolution().operators[-1].options))
@pytest.mark.parametrize("value", [None, "text", 1.5, [1]])
def test_options_that_are_missing_or_no_integers(name, value):
    graph = convolution()
    with_option(name, value)(graph)
    check_refused(graph, "LceBconv2d", 1, f"{name} is missing")


CUSTOM = {
    "none": lambda options: b"",
    "one byte": lambda options: b"\x01",
    "no map": lambda options: bytes(flexbuffers.Dumps(7)),
    "empty map": lambda options: bytes(flexbuffers.Dumps({})),
    "zeros": lambda options: bytes(len(options)),
    "ones": lambda options: b"\xff" * len(options),
    "text": lambda options: b"not flexbuffers at all",
    **{f"the first {size} bytes": lambda options, size=size: options[:size] for size in (1, 2, 3, 10, 30, 50)},
    **{f"the last {size} bytes": lambda options, size=size: options[-size:] for size in (1, 2, 3, 4, 5, 10, 30, 60)},
}


@pytest.mark.parametrize("case", CUSTOM)
@pytest.mark.parametrize("kind", ["LceBconv2d", "LceBMaxPool2d"])
def test_custom_options_that_cannot_be_read(case, kind):
    graph = convolution() if kind == "LceBconv2d" else pooling()
    with_custom(CUSTOM[case])(graph)
    check_refused(graph, kind, len(graph.operators) - 1, "option")


@pytest.mark.parametrize("option", ["filter_height", "filter_width", "stride_height", "stride_width", "padding"])
@pytest.mark.parametrize("value", [None, -1, 2**40])
def test_options_of_a_pooling(option, value):
    graph = pooling()
    with_option(option, value)(graph)
    check_refused(graph, "LceBMaxPool2d", 0, option)
