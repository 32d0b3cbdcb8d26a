"""Writes the examples anew from the templates of `bitat-tf kit`: python examples/write_examples.py [model.tflite picture.png].

The examples are kits of a small network, but for the sources of bitat-runtime, of which they hold no copy: they take those of
this checkout. Without arguments the network and the picture stay as they are. A test compares the folders with what is written.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bitat_tf.deployment import write_kit

HERE = Path(__file__).resolve().parent
ASSETS = HERE / "android" / "app" / "src" / "main" / "assets"
TARGETS = {"android": "android", "cpp": "cpp", "raspberry-pi": "raspberry_pi"}

# Where the kits name their copy of the sources of bitat-runtime, and what stands there in the examples.
_RUNTIME = {
    "android/gradle.properties": ("bitat.runtime=runtime", "bitat.runtime=../../runtime"),
    "android/README.md": ("(`runtime`)", "(`../../runtime`)"),
    "cpp/CMakeLists.txt": ('set(BITAT_RUNTIME_DIR "runtime"', 'set(BITAT_RUNTIME_DIR "../../runtime"'),
    "cpp/README.md": ("(`runtime`)", "(`../../runtime`)"),
}


def contents(model: Path, picture: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the paths of all files of the examples, from this folder, and what is in them."""
    for target, folder in TARGETS.items():
        with tempfile.TemporaryDirectory() as place:
            kit = write_kit(model, Path(place) / "kit", target=target, picture=picture, runtime=HERE.parent / "runtime")
            for name in kit.files:
                if name.startswith("runtime/"):
                    continue
                path, content = f"{folder}/{name}", (kit.folder / name).read_bytes()
                if path in _RUNTIME:
                    old, new = _RUNTIME[path]
                    if content.count(old.encode()) != 1:
                        raise ValueError(f"write_examples: {path} must name the sources once, as {old!r}: mend _RUNTIME.")
                    content = content.replace(old.encode(), new.encode())
                yield path, content


def main(arguments: list[str]) -> None:
    """Write all examples."""
    if len(arguments) not in (0, 2):
        raise SystemExit("usage: python examples/write_examples.py [model.tflite picture.png]")
    model, picture = map(Path, arguments) if arguments else (ASSETS / "model.tflite", ASSETS / "picture.png")
    for name, content in list(contents(model, picture)):
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1:])
