"""Runs files in the interpreters of other releases: `python version_matrix.py WORK REFERENCES`, both folders.

Each release gets an environment of its own in WORK, made once, with nothing but the interpreter's package and numpy. In it
every file of REFERENCES (`<name>.tflite`, and `<name>.npz` with "inputs" and the "outputs" that are expected) runs with one and
two threads, fused and not. Prints a line of JSON per release.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

RELEASES = {
    "tensorflow 2.16": "tensorflow==2.16.2",
    "tensorflow 2.18": "tensorflow==2.18.1",
    "tensorflow 2.21": "tensorflow==2.21.0",
    "ai-edge-litert 1.4": "ai-edge-litert==1.4.0",
    "ai-edge-litert 2.3": "ai-edge-litert==2.3.0",
}
SOURCES = Path(__file__).parents[1]

# What runs in the environment of a release: this package from its folder, with the library that is given.
PROGRAM = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import numpy as np
sources, library, references, engine = sys.argv[1:]
sys.path.insert(0, sources)
import bitat_runtime
worst, runs = 0.0, 0
for path in sorted(Path(references).glob("*.tflite")):
    stored = np.load(path.with_suffix(".npz"))
    expected = stored["outputs"].astype(np.float64)
    for threads in (1, 2):
        for fusion in ("on", "off"):
            interpreter = bitat_runtime.Interpreter(path, threads, fusion=fusion, engine=engine, library=library)
            found = np.asarray(interpreter.predict(stored["inputs"]), np.float64)
            worst = max(worst, float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max())))
            runs += 1
print(json.dumps({"worst": worst, "runs": runs, "kernels": bitat_runtime.kernel_families(library)}))
"""


class NotInstalledError(RuntimeError):
    """A release cannot be installed here."""


def run_release(name: str, work: Path, references: Path, library: Path) -> dict[str, object]:
    """Run all files in the interpreter of a release.

    Args:
        name: One of `RELEASES`.
        work: Folder of the environments.
        references: Folder of the files, and of what larq-compute-engine's interpreter makes of them.
        library: The delegate.

    Returns:
        The largest relative difference "worst", the number of "runs", and the "kernels" of the library.

    Raises:
        NotInstalledError: The release cannot be installed here.
        RuntimeError: The files do not run; with what the process wrote.
    """
    folder = work / name.replace(" ", "-")
    python = folder / "bin" / "python"
    marker = folder / "installed"
    if not marker.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", RELEASES[name], "numpy<2.1"]
        installed = subprocess.run(install, check=False, capture_output=True, text=True)
        if installed.returncode != 0:
            raise NotInstalledError(f"{name} cannot be installed: {installed.stderr[-500:]}")
        marker.touch()
    engine = "tensorflow" if name.startswith("tensorflow") else "litert"
    arguments = [str(SOURCES), str(library), str(references), engine]
    finished = subprocess.run([python, "-c", PROGRAM, *arguments], check=False, capture_output=True, text=True)
    if finished.returncode != 0:
        raise RuntimeError(f"{name}: the files did not run: {finished.stderr[-2000:]}")
    return json.loads(finished.stdout.strip().splitlines()[-1])


def main() -> None:
    """Run all releases."""
    import bitat_runtime

    work, references = map(Path, sys.argv[1:])
    for name in RELEASES:
        result = run_release(name, work, references, Path(bitat_runtime.library_path()))
        sys.stdout.write(json.dumps({"release": name, **result}) + "\n")


if __name__ == "__main__":
    main()
