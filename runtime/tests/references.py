"""Files and what is expected of them, for interpreters that run elsewhere: in other environments, or in an emulator."""

from pathlib import Path

import numpy as np
import numpy_model
from random_operators import random_case


def write_operators(folder: Path, seeds: range) -> int:
    """Write files of one operator, `operator_<seed>.tflite`, and `.npz` with their "inputs" and the "outputs" in numpy.

    Inputs that are no numbers or infinite are replaced, and files with such outputs left out: these have no difference.

    Returns:
        The number of files.
    """
    written = 0
    for seed in seeds:
        case = random_case(seed)
        inputs = [np.nan_to_num(one, posinf=1.0, neginf=-1.0) if one.dtype == np.float32 else one for one in case.inputs]
        outputs = numpy_model.run(case.graph, inputs)
        if all(np.isfinite(one.astype(np.float64)).all() for one in outputs):
            (folder / f"operator_{seed}.tflite").write_bytes(case.with_batch().content())
            np.savez(folder / f"operator_{seed}.npz", inputs=inputs[0], outputs=outputs[0])
            written += 1
    return written
