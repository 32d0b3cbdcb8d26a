"""Several processes on JAX, and several replicas on TensorFlow, train what one device trains; each in processes of its own."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax")
# Each starts processes that import TensorFlow and JAX: minutes together.
pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("distribution_worker.py")


class Worker:
    """A process that trains; what it prints goes to a file, so that it never waits for a reader."""

    def __init__(self, folder, strategy, index=0, coordinator=None, die=None, calibration=(0, 64), refresh=True):
        self.result = folder / f"{strategy}{index}.npz"
        self._log = folder / f"{strategy}{index}.log"
        settings = {
            **{"strategy": strategy, "index": index, "coordinator": coordinator, "die": die, "calibration": calibration},
            **{"refresh": refresh, "out": str(self.result), "backup": str(folder / f"backup-{strategy}")},
        }
        with self._log.open("w") as log:
            command = [sys.executable, str(WORKER), json.dumps(settings)]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def wait(self):
        """Return the exit code."""
        try:
            return self.process.wait(timeout=300)
        finally:
            self.process.kill()

    @property
    def output(self):
        """What it printed."""
        return self._log.read_text()


def free_address():
    """Return an address that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def variables(workers):
    """Return the variables of each worker after its end."""
    deadline = time.monotonic() + 300
    codes = [None]
    while None in codes and not any(codes) and time.monotonic() < deadline:  # where one fails, the others wait for it
        time.sleep(0.1)
        codes = [worker.process.poll() for worker in workers]
    for worker in workers:
        worker.process.kill()
    assert codes == [0] * len(workers), "\n".join(worker.output[-3000:] for worker in workers)
    return [dict(np.load(worker.result)) for worker in workers]


def two_workers(folder, **settings):
    """Start both; settings are pairs, of the first and of the second worker."""
    coordinator = free_address()
    return [
        Worker(folder, "workers", index, coordinator, **{name: value[index] for name, value in settings.items()})
        for index in range(2)
    ]


def assert_close(found, expected):
    """Compare all variables; of weights near 0 a few may have another sign, and all that follows from it differs a little."""
    for name, value in expected.items():
        if name != "epochs":
            close = np.isclose(found[name], value, rtol=1e-3, atol=1e-4)
            assert close.mean() > 0.97, (name, found[name], value)


def assert_equal(found, expected, *without):
    for name, value in expected.items():
        if name not in without:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return variables([Worker(tmp_path_factory.mktemp("one"), "one")])[0]


def test_two_replicas_train(tmp_path):
    (mirrored,) = variables([Worker(tmp_path, "mirrored")])
    assert all(mirrored[f"binary_{number}:kernel_is_binary"] for number in (1, 2))


def test_two_workers_are_one_device_to_rounding_and_go_on_after_one_was_killed(one_device, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    first, second = variables(two_workers(whole))
    assert_equal(second, first)
    assert_close(first, one_device)

    killed = two_workers(tmp_path, die=(None, 2))
    assert killed[1].wait() == 9, killed[1].output
    # What holds the workers together (Kubernetes, a script) ends the others and starts all of them again.
    killed[0].process.kill()
    killed[0].wait()
    for continued in variables(two_workers(tmp_path)):
        assert list(continued["epochs"]) == [2]
        assert_equal(continued, first, "epochs")


def test_workers_with_other_calibration_data_have_the_statistics_of_the_first(tmp_path):
    first, second = variables(two_workers(tmp_path, calibration=((0, 64), (64, 64)), refresh=(False, False)))
    assert any(name.endswith("importance") for name in first)
    assert_equal(second, first)


def test_workers_with_calibration_data_of_another_number_are_told(tmp_path):
    workers = two_workers(tmp_path, calibration=((0, 64), (0, 48)))
    for worker, count in zip(workers, (64, 48), strict=True):
        assert worker.wait() == 1
        assert f"must have the same number of calibration inputs. Received: {count} in this one" in worker.output
