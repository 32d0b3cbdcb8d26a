"""From a `.tflite` file to a program on a phone or a board: `write_kit`.

| module | what it holds |
|---|---|
| `write` | `write_kit`: a project with the file, its labels, a picture and its settings |
| `projects` | the projects for Android, C++ and a Raspberry Pi, which build as they stand |
| `targets` | which projects there are, and where in them what belongs to a network goes |
| `network` | what a kit must know of the file |
| `settings` | the one file that is written anew for each network; the names of its classes |
| `picture`, `runtime_sources` | the picture of a kit; the C++ sources of bitat-runtime in it |
"""

from bitat_tf._pixels import Scaling
from bitat_tf.kits.write import Kit, write_kit

__all__ = ["Kit", "Scaling", "write_kit"]
