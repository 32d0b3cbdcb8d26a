"""The numbers of the rules of `check`; docs/rules.md explains each."""

ONE_SIDE = 1
INPUT_VALUES = 2
KERNEL_VALUES = 3
PADDING_VALUE = 4
GROUPS = 5
KIND = 6
NO_GRAPH = 7
RECURRENT = 8
INPUT_SIZE = 9
FROZEN = 10
INFERENCE_MODE = 11
NORMALIZATION = 12
ENDS = 13
RELU_BEFORE_SIGN = 14
CHANNELS = 15
ZERO_PADDING = 16
RESHAPE = 17
NOT_YET_BINARY = 18

CANNOT_ADAPT = (FROZEN, INFERENCE_MODE)
"""What training cannot mend: these layers cannot adapt to binary ones."""
