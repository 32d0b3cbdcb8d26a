"""The library runs in the interpreters of other releases without being built anew, with larq-compute-engine's results."""

import numpy as np
import pytest
import references
import version_matrix

import bitat_runtime

# Of the network: its float operators differ by rounding from release to release. The single operators are exact.
TOLERANCE = 1e-5
OPERATORS = 16


@pytest.fixture(scope="module")
def files(tmp_path_factory, small_network):
    folder = tmp_path_factory.mktemp("references")
    (folder / "network.tflite").write_bytes(small_network.content)
    np.savez(folder / "network.npz", inputs=small_network.samples[0], outputs=small_network.outputs[0])
    assert references.write_operators(folder, range(OPERATORS)) > OPERATORS / 2
    return folder


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    return tmp_path_factory.mktemp("environments")


@pytest.mark.slow
@pytest.mark.parametrize("release", version_matrix.RELEASES)
def test_release(release, environments, files):
    try:
        result = version_matrix.run_release(release, environments, files, bitat_runtime.library_path())
    except version_matrix.NotInstalledError as error:
        pytest.skip(str(error))
    assert result["runs"] == 4 * len(list(files.glob("*.tflite")))
    assert result["kernels"] == list(bitat_runtime.kernel_families())
    assert result["worst"] <= TOLERANCE
