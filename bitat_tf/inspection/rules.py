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
NORMALIZATION = 10
ENDS = 11
RELU_BEFORE_SIGN = 12
CHANNELS = 13
ZERO_PADDING = 14
RESHAPE = 15
NOT_YET_BINARY = 16
FORM = 17

CANNOT_ADAPT = (FROZEN,)
"""What training cannot mend: these layers cannot adapt to binary ones."""
