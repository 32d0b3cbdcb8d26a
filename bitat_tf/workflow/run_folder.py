"""The folder of a run: its files, and what may be done to a folder that holds another run."""

import json
import shutil
from pathlib import Path
from typing import Any

from bitat_tf._files import is_temporary, remove_temporary_files, write_bytes, write_text
from bitat_tf.workflow.folder_lock import LOCK, FolderLock
from bitat_tf.workflow.settings import AnySettings, Settings

_FORMAT = 1
_FIRST_COMMAND = "train"  # of the runs whose config.json does not say which command made it


class RunFolder:
    """Names and checks of a run's files.

    From `begin` or `resume` on no other process can use it; the end of a `with` block gives it back.

    Args:
        path: The folder; made if it is not there.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock = FolderLock(self.path)
        self.config = self.path / "config.json"
        self.source_model = self.path / "source.keras"
        self.float_model = self.path / "float.keras"
        self.binary_model = self.path / "binary.keras"
        self.tflite = self.path / "model.tflite"
        self.labels = self.path / "labels.txt"
        self.history = self.path / "history.csv"
        self.report_json = self.path / "report.json"
        self.report_markdown = self.path / "report.md"
        self.report_html = self.path / "report.html"
        self.accuracy_plot = self.path / "accuracy.png"
        self.error_plot = self.path / "q_ours.png"
        self.logs = self.path / "logs"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"

    @property
    def chatter(self) -> Path:
        """What TensorFlow has written meanwhile, which does not reach the terminal."""
        return self.logs / "log.txt"

    @property
    def _own(self) -> list[Path]:
        return [value for name, value in vars(self).items() if name not in ("path", "_lock")]

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def log(self, name: str) -> Path:
        """Return the CSV log of the float or the binary training."""
        return self.logs / f"{name}.csv"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end: the report is written last."""
        return self.report_json.exists()

    def check_free(self, overwrite: bool = False) -> None:
        """Raise FileExistsError unless a new run may be written here; changes nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"--out must be a folder. Received: the file {self.path}. Choose another name.")
        # Of a run that was killed while it wrote its first file, that file's temporary form is left.
        if not self.path.is_dir() or all(path.name == LOCK or is_temporary(path) for path in self.path.iterdir()):
            return
        if not self.config.exists():
            raise FileExistsError(
                f"{self.path} holds files that are not of a run. Nothing was changed. Choose another folder as --out."
            )
        if not overwrite:
            raise FileExistsError(
                f"{self.path} already holds a run. Nothing was changed. Pass --resume to continue that run, --overwrite to "
                "replace its files, or another folder as --out."
            )

    def begin(self, config: Settings, overwrite: bool = False, source: Path | None = None) -> None:
        """Start a new run; `overwrite` removes the files of the run that the folder holds, and no others.

        Args:
            config: The settings.
            overwrite: Whether a run that the folder holds is replaced.
            source: The model that the run starts from, if it does; it is copied, so that the run can be resumed without it.

        Raises:
            FileExistsError: If the folder holds a run and `overwrite` is False, or files that are not of a run.
            OSError: If the folder cannot be written, or another process uses it.
            ValueError: If `source` is a file of the run that `overwrite` would remove.
        """
        self.check_free(overwrite)
        if source is not None and {own.resolve() for own in self._own} & {source.resolve(), *source.resolve().parents}:
            raise ValueError(
                f"--overwrite would remove the model itself: {source} is a file of the run in {self.path}. Nothing was "
                "changed. Copy the model to another place, or choose another folder as --out."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        self.check_free(overwrite)  # another process may have been faster
        remove_temporary_files(self.path)
        # config.json says that the folder is a run's. It is there before, and as long as, anything else of the run is: else a
        # run that is killed here would leave files that --overwrite takes for those of somebody else.
        for own in self._own:
            if own.is_dir():
                shutil.rmtree(own)
            elif own != self.config:
                own.unlink(missing_ok=True)
        content = {"format": _FORMAT, "command": config.command, "settings": config.to_dict()}
        write_text(self.config, json.dumps(content, indent=2) + "\n")
        self.logs.mkdir(exist_ok=True)
        if source is not None:  # after config.json: a folder without that would not be taken for a run, and not be overwritten
            write_bytes(self.source_model, source.read_bytes())

    def finish(self, report: str) -> None:
        """Write `report.json`, which says that the run is finished, and remove what only an unfinished run needs."""
        write_text(self.report_json, report)
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def resume(self, given: dict[str, Any], kind: type[AnySettings]) -> AnySettings:
        """Return the settings of the run that the folder holds.

        Args:
            given: Settings that the user named; they must be those of the run.
            kind: Class of the settings.

        Raises:
            FileNotFoundError: If the folder holds no run.
            OSError: If the folder cannot be written, or another process uses it.
            ValueError: If it is a run of another version or command, or a given setting differs.
        """
        if not self.config.exists():
            raise FileNotFoundError(f"--resume: {self.path} holds no run (no config.json). Leave --resume out to start one.")
        try:
            content = json.loads(self.config.read_text())
        except ValueError as error:  # no JSON, or no text
            raise ValueError(f"--resume: {self.config} is damaged ({error}). Start the run anew with --overwrite.") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(
                f"--resume: {self.config} is of another version of bitat_tf (expected format {_FORMAT}). Start the run anew "
                "with --overwrite, or continue it with the version it was made with."
            )
        command = content.get("command", _FIRST_COMMAND)
        if command != kind.command:
            raise ValueError(
                f"--resume: the run in {self.path} was made by `bitat-tf {command}`. Received: `bitat-tf {kind.command}`. "
                f"Continue it with `bitat-tf {command} --out {self.path} --resume`."
            )
        try:
            config = kind.from_dict(content.get("settings"))
        except ValueError as error:
            raise ValueError(
                f"--resume: {self.config} holds settings that cannot be ({error}) Put the file right, or start the run anew "
                "with --overwrite."
            ) from error
        stored, given = config.to_dict(), kind.normalized(given)
        changed = [f"{name} is {stored[name]!r}, received {value!r}" for name, value in given.items() if stored[name] != value]
        if changed:
            raise ValueError(f"--resume continues a run with its own settings: {'; '.join(changed)}. Leave these options out.")
        if not self.finished:
            self._lock.take()
            remove_temporary_files(self.path)
            self.logs.mkdir(exist_ok=True)
        return config
