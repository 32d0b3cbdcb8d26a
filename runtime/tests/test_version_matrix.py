"""The library runs in the interpreters of other releases without being built anew, with larq-compute-engine's results."""

import numpy as np
import numpy_model
import pytest
import version_matrix
from random_operators import random_case

import bitat_runtime

# Of the network: its float operators differ by rounding from release to release. The single operators are exact.
TOLERANCE = 1e-5
OPERATORS = 16


@pytest.fixture(scope="module")
def references(tmp_path_factory, small_network):
    folder = tmp_path_factory.mktemp("references")
    (folder / "network.tflite").write_bytes(small_network.content)
    np.savez(folder / "network.npz", inputs=small_network.samples[0], outputs=small_network.outputs[0])
    for seed in range(OPERATORS):
        case = random_case(seed)
        # What is no number or infinite has no difference.
        inputs = [np.nan_to_num(one, posinf=1.0, neginf=-1.0) if one.dtype == np.float32 else one for one in case.inputs]
        outputs = numpy_model.run(case.graph, inputs)
        if all(np.isfinite(one.astype(np.float64)).all() for one in outputs):
            (folder / f"operator_{seed}.tflite").write_bytes(case.with_batch().content())
            np.savez(folder / f"operator_{seed}.npz", inputs=inputs[0], outputs=outputs[0])
    assert len(list(folder.glob("*.tflite"))) > OPERATORS / 2
    return folder


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    return tmp_path_factory.mktemp("environments")


@pytest.mark.slow
@pytest.mark.parametrize("release", version_matrix.RELEASES)
def test_release(release, environments, references):
    result = version_matrix.run_release(release, environments, references, bitat_runtime.library_path())
    assert result["runs"] == 4 * len(list(references.glob("*.tflite")))
    assert result["kernels"] == list(bitat_runtime.kernel_families())
    assert result["worst"] <= TOLERANCE
