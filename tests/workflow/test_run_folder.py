"""One process at a time in the folder of a run, and what processes that were killed have left there."""

import os
import signal
import subprocess
import sys

import pytest

from bitat_tf._files import write_atomically, write_text
from bitat_tf.workflow import RunFolder, TrainConfig
from bitat_tf.workflow.folder_lock import FolderLock

CONFIG = TrainConfig.for_data()
HOLD = """
import sys
from pathlib import Path
from bitat_tf.workflow.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take()
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """Return the folder of a run that another process uses, and the process."""
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(CONFIG)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "taken\n"
    yield folder.path, process
    process.kill()
    process.communicate()


def test_a_folder_in_use_names_the_process(held, call):
    path, process = held
    before = sorted(path.iterdir())
    message = f"{path} is in use by process {process.pid} on .*, since 20.*Nothing was changed. Wait until that is done"
    with pytest.raises(BlockingIOError, match=message):
        RunFolder(path).resume({}, TrainConfig)
    with pytest.raises(BlockingIOError, match=message):
        RunFolder(path).begin(CONFIG, overwrite=True)
    assert sorted(path.iterdir()) == before
    code, _, error = call("train", "--out", path, "--resume")
    assert (code, f"in use by process {process.pid}" in error) == (2, True)


def test_the_lock_of_a_killed_process_is_taken_over(held):
    path, process = held
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (path / ".lock").read_text().startswith(f"process {process.pid} ")
    with RunFolder(path) as folder:
        assert folder.resume({}, TrainConfig) == CONFIG
        assert (path / ".lock").read_text().startswith(f"process {os.getpid()} ")
    assert not (path / ".lock").exists()


def test_a_lock_that_its_holder_has_just_removed_is_not_taken(tmp_path, monkeypatch):
    """Between opening the file and locking it the holder may go: then another one may hold a new file of that name."""
    fcntl = pytest.importorskip("fcntl")
    flock, late = fcntl.flock, FolderLock(tmp_path)

    def removed_before(file, flags):
        monkeypatch.setattr(fcntl, "flock", flock)
        (tmp_path / ".lock").unlink()
        FolderLock.take(first)
        flock(file, flags)

    first = FolderLock(tmp_path)
    monkeypatch.setattr(fcntl, "flock", removed_before)
    with pytest.raises(BlockingIOError, match="is in use by process"):
        late.take()
    first.release()
    late.take()
    late.release()


def test_a_lock_may_vanish_while_it_is_looked_at(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    fstat, lock = os.fstat, FolderLock(tmp_path)

    def removed_before(file):
        monkeypatch.setattr(os, "fstat", fstat)
        (tmp_path / ".lock").unlink()
        return fstat(file)

    monkeypatch.setattr(os, "fstat", removed_before)
    lock.take()
    assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} ")
    lock.release()


def test_resuming_leaves_what_others_are_writing(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(CONFIG)
    write = """
import sys
from bitat_tf._files import write_atomically
def wait(path):
    print(path.name, flush=True)
    sys.stdin.read()
write_atomically(sys.argv[1], wait)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", write, str(folder.path / "model.tflite")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    name = process.stdout.readline().strip()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (folder.path / f".writing-{ended.pid}-abc.json").write_text("{")
    (folder.path / "logs" / ".writing-a folder").mkdir()
    try:
        with RunFolder(folder.path) as again:
            again.resume({}, TrainConfig)
        assert sorted(path.name for path in folder.path.rglob(".writing-*")) == sorted([".writing-a folder", name])
    finally:
        process.communicate()
    assert process.returncode == 0
    assert folder.tflite.exists()


@pytest.mark.parametrize("name", [".lockfile", ".lock.txt"])
def test_files_of_somebody_else_may_begin_as_ours(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(FileExistsError, match="holds files that are not of a run. Nothing was changed"):
        RunFolder(tmp_path).check_free()
    (tmp_path / name).unlink()
    (tmp_path / ".writing-a folder").mkdir()
    with pytest.raises(FileExistsError, match="holds files that are not of a run"):
        RunFolder(tmp_path).check_free()


def test_resuming_removes_what_a_killed_process_was_writing(tmp_path, monkeypatch):
    def killed(path):
        path.write_bytes(b"half")
        raise SystemExit

    with RunFolder(tmp_path / "run") as folder:
        folder.begin(CONFIG)
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.unlink", lambda *arguments, **more: None)  # a killed process removes nothing
            for path in (folder.error_plot, folder.checkpoints / "epoch-000001.weights.h5", folder.labels):
                with pytest.raises(SystemExit):
                    write_atomically(path, killed)
        left = [path for path in folder.path.rglob("*") if path.is_file() and path != folder.config]
        assert len(left) == 4  # three halves, and the lock
    with RunFolder(tmp_path / "run") as folder:
        folder.resume({}, TrainConfig)
        assert sorted(path.name for path in folder.path.rglob("*") if path.is_file()) == [".lock", "config.json"]


def test_what_is_left_of_the_first_file_is_no_file_of_somebody_else(tmp_path):
    (tmp_path / ".writing-abc.json").write_text("{")
    (tmp_path / ".lock").write_text("process 1")
    with RunFolder(tmp_path) as folder:
        folder.begin(CONFIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "logs"]
    write_text(tmp_path / "x.txt", "x")
    assert not list(tmp_path.glob(".*"))
