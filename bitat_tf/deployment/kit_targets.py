"""What a kit can be for, and which templates make it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

LARQ = "larq"
ALL = "all"
_APP = "app/src/main"
_KOTLIN = f"{_APP}/java/com/example/classifier"
_KT = ("PictureClassifier.kt", "Preprocess.kt", "Settings.kt")
_CPP = ("arguments.h", "classification.h", "jpeg_picture.h", "pictures.h", "png_picture.h", "preprocess.h", "settings.h")


@dataclass(frozen=True)
class Target:
    """What a kit is for.

    Attributes:
        templates: The template of each file, by the file's path in the kit.
        model, labels: Where the network and the names of its classes go.
        picture: Where a picture goes, a PNG or a PPM; None: nowhere.
        runtime: Where the sources of bitat-runtime go; None: nowhere.
        larq: Whether it is for larq-compute-engine's own runtime, which must be of the converter's version.
        executable: Which of the files are programs.
    """

    templates: Mapping[str, str]
    model: str = "model.tflite"
    labels: str = "labels.txt"
    picture: str | None = None
    runtime: str | None = None
    larq: bool = False
    executable: tuple[str, ...] = field(default=())


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _from(folder: str, *names: str) -> dict[str, str]:
    return {name: f"{folder}/{name}" for name in names}


def _larq() -> Target:
    """Return all that larq-compute-engine's own runtime needs."""
    own = ("README.md", "benchmark.sh", "cpp/CMakeLists.txt", "cpp/kernel.h", "cpp/main.cc", "android/build.gradle.kts")
    shared = [f"cpp/{name}" for name in _CPP] + [f"android/{name}" for name in ("Classifier.kt", *_KT)]
    return Target(_same(*own, *shared), larq=True, executable=("benchmark.sh",))


def _android() -> Target:
    """Return a Gradle project."""
    project = ("README.md", "settings.gradle.kts", "build.gradle.kts", "gradle.properties", "app/build.gradle.kts")
    versions = ("gradle/libs.versions.toml", "gradle/wrapper/gradle-wrapper.properties")
    app = ("AndroidManifest.xml", "res/values/strings.xml", "cpp/CMakeLists.txt", "cpp/bitat_jni.cc")
    kotlin = (f"{_APP}/java/bitat/runtime/BitatDelegate.kt", f"{_KOTLIN}/Classifier.kt", f"{_KOTLIN}/MainActivity.kt")
    return Target(
        {
            **_from("litert_android", *project, *versions, *(f"{_APP}/{name}" for name in app), *kotlin),
            **{f"{_KOTLIN}/{name}": f"android/{name}" for name in _KT},
            ".gitignore": "litert_android/gitignore",  # under its own name it would not become a part of the package
        },
        model=f"{_APP}/assets/model.tflite",
        labels=f"{_APP}/assets/labels.txt",
        picture=f"{_APP}/assets/picture.png",
        runtime="runtime",
    )


def _cpp() -> Target:
    """Return a program for TensorFlow Lite's C API."""
    return Target(
        {
            **_from("litert_cpp", "README.md", "CMakeLists.txt", "main.cc", "tflite_c.h"),
            **{name: f"cpp/{name}" for name in _CPP},
        },
        picture="picture.ppm",  # read without any library
        runtime="runtime",
    )


def _raspberry_pi() -> Target:
    """Return a Python script; its template has another name, since with places to fill it is no Python yet."""
    templates = {"README.md": "raspberry_pi/README.md", "classify.py": "raspberry_pi/classify.py.in"}
    return Target(templates, picture="picture.png")


TARGETS: Mapping[str, Target] = MappingProxyType(
    {LARQ: _larq(), "android": _android(), "cpp": _cpp(), "raspberry-pi": _raspberry_pi()}
)
