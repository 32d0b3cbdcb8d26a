"""The files of an experiment."""

from pathlib import Path

from bitat_tf.workflow.run_folder import RunFolder


class ExperimentFolder(RunFolder):
    """A run's folder with the table and the figures of an experiment.

    Args:
        path: The folder; made if it is not there.
    """

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.table = self.path / "table.csv"
        self.figure = self.path / "figure.png"
        self.curve = self.path / "curve.png"
        self.agreement = self.path / "agreement.png"
        self.parts = self.path / "parts"

    def part(self, name: str) -> Path:
        """Return the file that keeps what one repetition found."""
        return self.parts / f"{name}.json"
