"""Networks in the manner of `keras.applications`, with binary layers that start as float layers.

All are functional models, not compiled, have the same arguments, and take pixels from 0 to 255 (`include_preprocessing`). The
counts are those for pictures of 224x224.

| network | binary layers | binary weights | binary MACs | non-linearity of the float state |
|---|---|---|---|---|
| `ReActNetA` (`ReActNet`: any blocks) | 26 | 28.3 M | 4.82 G | RPReLU |
| `ReActNet18` | 16 | 11.0 M | 1.68 G | RPReLU |
| `BiRealNet18` | 16 | 11.0 M | 1.68 G | hard tanh |
| `BiRealNet34` | 32 | 21.1 M | 3.53 G | hard tanh |
| `RealToBinNet18` | 16 | 11.0 M | 1.68 G | tanh, PReLU |
| `MeliusNet22` | 34 | 6.1 M | 4.62 G | hard tanh |
| `QuickNet` | 16 | 12.5 M | 1.85 G | ReLU |
| `MobileNetV1`, `MobileNetV2` | none | - | - | ReLU6 |
"""

from bitat_tf.applications._building import preprocess_input
from bitat_tf.applications.birealnet import BiRealNet18, BiRealNet34
from bitat_tf.applications.meliusnet import MeliusNet22
from bitat_tf.applications.mobilenet import MobileNetV1, MobileNetV2
from bitat_tf.applications.quicknet import QuickNet
from bitat_tf.applications.reactnet import REACTNET_A_BLOCKS, ReActNet, ReActNet18, ReActNetA
from bitat_tf.applications.realtobinnet import RealToBinNet18

__all__ = [
    "REACTNET_A_BLOCKS",
    "BiRealNet18",
    "BiRealNet34",
    "MeliusNet22",
    "MobileNetV1",
    "MobileNetV2",
    "QuickNet",
    "ReActNet",
    "ReActNet18",
    "ReActNetA",
    "RealToBinNet18",
    "preprocess_input",
]
