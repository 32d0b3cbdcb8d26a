"""What the mathematics costs: `make benchmarks`, or `python -m benchmarks`.

| module | what it holds |
|---|---|
| `cases` | the single measurements, each run in a process of its own |
| `measure`, `child` | time and peak memory of a function; a case in a fresh process |
| `growth` | measurements of how the costs grow with d, k, m and the number of images |
| `plot`, `page` | what becomes of them: the plot, and `docs/benchmarks.md` |
| `keras_applications`, `deployment` | pages of their own: networks of Keras through `binarize`, and files of ReActNet-A |
"""
