"""The numbers of the rules of `check`; docs/rules.md explains each."""

INPUT_VALUES = 1
KERNEL_VALUES = 2
PADDING_VALUE = 3
GROUPS = 4
KIND = 5
NO_GRAPH = 6
RECURRENT = 7
INPUT_SIZE = 8
FROZEN = 9
INFERENCE_MODE = 10
NORMALIZATION = 11
ENDS = 12
RELU_BEFORE_SIGN = 13
CHANNELS = 14
ZERO_PADDING = 15
RESHAPE = 16
NOT_YET_BINARY = 17

CANNOT_ADAPT = (FROZEN, INFERENCE_MODE)
"""What training cannot mend: these layers cannot adapt to binary ones."""
