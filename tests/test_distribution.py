"""Several replicas and several workers train what one device trains; each run is in processes of its own."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).with_name("distribution_worker.py")


def start(folder, strategy, index=0, cluster=(), die=None, calibration=0):
    settings = {
        **{"strategy": strategy, "index": index, "cluster": list(cluster), "die": die, "calibration": calibration},
        **{"out": str(folder / f"{strategy}{index}.npz"), "backup": str(folder / f"backup-{strategy}")},
    }
    return subprocess.Popen(
        [sys.executable, str(WORKER), json.dumps(settings)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def free_addresses(count):
    """Return addresses that nobody listens at; all are held at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def variables(processes, folder, strategy):
    """Return the variables of each worker after its end."""
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(outputs)[-4000:]
    return [dict(np.load(folder / f"{strategy}{index}.npz")) for index in range(len(processes))]


def two_workers(folder, **settings):
    cluster = free_addresses(2)
    return [
        start(folder, "workers", index, cluster, **{name: value[index] for name, value in settings.items()})
        for index in range(2)
    ]


def assert_close(found, expected):
    """Compare all variables: signs of weights near 0 may differ, so that few of them do."""
    for name, value in expected.items():
        if name not in ("replicas", "epochs"):
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return variables([start(folder, "one")], folder, "one")[0]


def test_two_replicas_are_one_device_to_rounding(one_device, tmp_path):
    (mirrored,) = variables([start(tmp_path, "mirrored")], tmp_path, "mirrored")
    assert (one_device["replicas"], mirrored["replicas"]) == (1, 2)
    assert_close(mirrored, one_device)


def test_two_workers_are_one_device_to_rounding_and_go_on_after_one_was_killed(one_device, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    first, second = variables(two_workers(whole), whole, "workers")
    assert first["replicas"] == 2
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)
    assert_close(first, one_device)

    killed = two_workers(tmp_path, die=(None, 2))
    assert killed[1].wait(timeout=300) == 9, killed[1].communicate()[0]
    # What holds the workers together (Kubernetes, a script) ends the others and starts all of them again.
    killed[0].kill()
    killed[0].communicate()
    for index, continued in enumerate(variables(two_workers(tmp_path), tmp_path, "workers")):
        assert list(continued["epochs"]) == [2], f"worker {index}"
        for name, value in first.items():
            if name != "epochs":
                np.testing.assert_array_equal(continued[name], value, err_msg=name)


def test_workers_with_other_calibration_data_have_the_statistics_of_the_first(tmp_path):
    first, second = variables(two_workers(tmp_path, calibration=(0, 1)), tmp_path, "workers")
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)
