"""Models of Keras 2, of Larq's layers too, become models of Keras 3 with layers of this package.

| module | what it holds |
|---|---|
| `keras2` | `from_larq`, `import_model`: reading, weights, and that the outputs are the same |
| `keras2_model` | a model of Keras 3 of what Keras 2 says of one |
| `larq_layers` | what becomes of Larq's layers, quantizers and activations |
| `keras2_child` | the process in which Keras 2 reads the file |
| `hdf5_files` | what a `.h5` file holds, and how a model of Keras 3 comes out of it |
| `file_sizes`, `saved_graph` | what a file is and takes unpacked, and whether its graph has an end, before Keras reads it |
| `keras2_file`, `larq_stand_ins` | for that process: what a file may name; what stands for Larq there |
"""

from bitat_tf.importing.keras2 import from_larq, import_model

__all__ = ["from_larq", "import_model"]
