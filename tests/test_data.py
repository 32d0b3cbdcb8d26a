"""Images on disk are written with Pillow; what is expected of them is worked out with numpy or by hand."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn import datasets

from bitat_tf import data

# Of one color, many of the images here are in both parts.
pytestmark = pytest.mark.filterwarnings("ignore::bitat_tf.data.folder.FolderWarning")


def write(path: Path, color=0, size=(8, 8), **options) -> Path:
    """Write an image of one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color if isinstance(color, tuple) else (color, color, color)).save(path, **options)
    return path


def write_classes(root: Path, counts: dict[str, int], size=(8, 8)) -> Path:
    """Write `counts[name]` gray images of each class, each with a brightness of its own."""
    shades = iter(range(256))
    for name, count in counts.items():
        for index in range(count):
            write(root / name / f"{index:03}.png", next(shades), size)
    return root


def shades(images: np.ndarray) -> list[int]:
    """Return the brightness by which `write_classes` tells its images apart."""
    return images[:, 0, 0, 0].tolist()


def load_one(path: Path, **options) -> np.ndarray:
    """Load the class folders around `path` and return its image: the only training image of its class."""
    root = path.parent.parent.parent
    write(root / "train/b/0.png")
    write_classes(root / "test", {"a": 1, "b": 1})
    return data.load_folder(root, **options).train_images[0]


# The digits


def test_digits_are_those_of_scikit_learn():
    digits = data.load_digits()
    source = datasets.load_digits()
    assert digits.image_shape == (8, 8, 1)
    assert digits.num_classes == 10
    assert digits.class_names == tuple("0123456789")
    assert digits.train_images.dtype == np.uint8
    assert digits.train_labels.dtype == np.int64
    loaded = np.concatenate([digits.train_images, digits.test_images])[..., 0] * (16 / 255)
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    assert len(digits.test_images) == 360
    assert sorted(zip(np.rint(loaded).reshape(-1, 64).tolist(), labels.tolist(), strict=True)) == sorted(
        zip(source.data.tolist(), source.target.tolist(), strict=True)
    )
    assert np.ptp(loaded - np.rint(loaded)) < 0.1  # rounded to the nearest of 256 shades


def test_digits_are_stratified_and_seeded():
    one, same, other = data.load_digits(seed=1), data.load_digits(seed=1), data.load_digits(seed=2)
    np.testing.assert_array_equal(one.train_images, same.train_images)
    assert not np.array_equal(one.train_labels, other.train_labels)
    share = np.bincount(one.test_labels) / np.bincount(datasets.load_digits().target)
    np.testing.assert_allclose(share, 0.2, atol=0.01)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan"), "half"])
def test_shares_out_of_range(share, tmp_path):
    with pytest.raises(ValueError, match="`test_share` must be a finite number > 0 and <= 0.9. Received"):
        data.load_digits(test_share=share)
    with pytest.raises(ValueError, match="load_folder: `test_share`"):
        data.load_folder(tmp_path, test_share=share)


# Folders


@pytest.mark.parametrize("held_out", ["test", "val", "validation", "Test"])
def test_train_and_test_folders(tmp_path, held_out):
    write_classes(tmp_path / "train", {"cat": 3, "ant": 2})
    write_classes(tmp_path / held_out, {"ant": 1, "cat": 2})
    loaded = data.load_folder(tmp_path)
    assert loaded.class_names == ("ant", "cat")
    assert loaded.train_labels.tolist() == [0, 0, 1, 1, 1]
    assert shades(loaded.train_images) == [3, 4, 0, 1, 2]
    assert loaded.test_labels.tolist() == [0, 1, 1]
    assert shades(loaded.test_images) == [0, 1, 2]
    assert loaded.train_images.dtype == np.uint8
    assert loaded.train_labels.dtype == np.int64
    assert loaded.image_shape == (8, 8, 3)
    assert loaded.skipped == ()


def test_class_folders_are_split_by_class(tmp_path):
    counts = {"ant": 40, "bee": 20, "cat": 2}
    write_classes(tmp_path, counts)
    one, same, other = (data.load_folder(tmp_path, test_share=0.25, seed=seed) for seed in (3, 3, 4))
    assert np.bincount(one.test_labels).tolist() == [10, 5, 1]
    assert sorted(shades(one.train_images) + shades(one.test_images)) == list(range(62))
    assert shades(one.test_images) == shades(same.test_images)
    assert shades(one.test_images) != shades(other.test_images)
    of_class = np.repeat([0, 1, 2], list(counts.values()))
    assert of_class[shades(one.train_images)].tolist() == one.train_labels.tolist()
    assert of_class[shades(one.test_images)].tolist() == one.test_labels.tolist()


def test_which_files_count(tmp_path):
    write_classes(tmp_path / "test", {"a": 1, "b": 1})
    write(tmp_path / "train/b/0.png")
    for shade, name in enumerate(["1.PNG", "2.JPG", "3.jpeg", "4.bmp", "5.gif", "6.webp", "deep/er/7.png"]):
        write(tmp_path / "train/a" / name, 10 * shade)
    write(tmp_path / "train/a/.hidden.png", 200)
    write(tmp_path / "train/a/.cache/8.png", 200)
    write(tmp_path / "train/.cache/8.png", 200)
    write(tmp_path / "train/stray.png", 200)
    (tmp_path / "train/a/notes.txt").write_text("no image")
    (tmp_path / "train/a/circle").symlink_to(tmp_path / "train", target_is_directory=True)
    loaded = data.load_folder(tmp_path)
    assert loaded.train_labels.tolist() == [0] * 7 + [1]
    np.testing.assert_allclose(shades(loaded.train_images), [0, 10, 20, 30, 40, 50, 60, 0], atol=2)


def test_a_class_may_be_called_train(tmp_path):
    write_classes(tmp_path, {"bus": 2, "train": 2})
    assert data.load_folder(tmp_path).class_names == ("bus", "train")


def test_directory_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="load_folder: there is no directory .*nowhere. Check the path"):
        data.load_folder(tmp_path / "nowhere")
    file = write(tmp_path / "picture.png")
    with pytest.raises(NotADirectoryError, match="picture.png is a file. Expected: one folder of images for each"):
        data.load_folder(file)
    with pytest.raises(ValueError, match="no class folders in .*Expected: one folder of images for each class"):
        data.load_folder(tmp_path)
    write_classes(tmp_path, {"only": 2})
    with pytest.raises(ValueError, match="one class folder, 'only', in .*at least two"):
        data.load_folder(tmp_path)


def test_unreadable_directory(tmp_path, monkeypatch):
    write_classes(tmp_path, {"a": 2, "b": 2})
    iterdir = Path.iterdir

    def refuse(path):
        if path.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PermissionError, match=r"/b is not readable \(Permission denied\). Give yourself"):
        data.load_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_directory_of_the_system(tmp_path):
    write_classes(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(PermissionError, match="/b is not readable"):
            data.load_folder(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)


def test_train_without_test(tmp_path):
    write_classes(tmp_path / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "testing", {"a": 2, "b": 2})
    with pytest.raises(ValueError, match="holds train/ but none of test/, val/, validation/. Add one, name another folder"):
        data.load_folder(tmp_path)


def test_empty_classes_are_named(tmp_path):
    write_classes(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "void").mkdir()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/film.mp4").write_bytes(b"film")
    with pytest.raises(
        ValueError, match=r"no image in '.*void', '.*wrong'. Expected: .*\.jpg and \.png. Received: \.mp4 \(1\), which"
    ):
        data.load_folder(tmp_path)


def test_train_and_test_with_different_classes(tmp_path):
    write_classes(tmp_path / "train", {"a": 1, "b": 1, "c": 1})
    write_classes(tmp_path / "test", {"b": 1, "c": 1, "d": 1, "e": 1})
    with pytest.raises(ValueError, match="only in .*train: 'a'; only in .*test: 'd', 'e'. Rename"):
        data.load_folder(tmp_path)
    write_classes(tmp_path / "train", {"d": 1, "e": 1})
    with pytest.raises(ValueError, match="only in .*train: 'a'; only in .*test: none"):
        data.load_folder(tmp_path)


def test_a_class_too_small_to_split(tmp_path):
    write_classes(tmp_path, {"a": 2, "rare": 1})
    with pytest.raises(ValueError, match="at least 2 samples of every class. Received: 1 sample of 'rare'. Add"):
        data.load_folder(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"color": "cmyk"}, ValueError, "`color` must be one of 'rgb', 'grayscale'. Received"),
        ({"image_size": 0}, ValueError, "`image_size` must be a finite number >= 1"),
        ({"image_size": 32.0}, TypeError, "`image_size` must be an integer >= 1. Received: image_size=32.0"),
        ({"subset": True}, TypeError, "`subset` must be an integer"),
        ({"seed": -1}, ValueError, "`seed` must be a finite number >= 0"),
        ({"max_bytes": None}, TypeError, "`max_bytes` must be an integer"),
    ],
)
def test_arguments_of_load_folder(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        data.load_folder(tmp_path, **options)


# Subsets and memory


def test_subset_is_even_and_seeded(tmp_path):
    write_classes(tmp_path / "train", {"a": 30, "b": 30, "c": 3})
    write_classes(tmp_path / "test", {"a": 4, "b": 4, "c": 4})
    one, same, other = (data.load_folder(tmp_path, subset=21, seed=seed) for seed in (0, 0, 1))
    assert np.bincount(one.train_labels).tolist() == [9, 9, 3]
    assert len(one.test_labels) == 12
    assert shades(one.train_images) == shades(same.train_images) == sorted(set(shades(one.train_images)))
    assert shades(one.train_images) != shades(other.train_images)
    counts = [np.bincount(data.load_folder(tmp_path, subset=4, seed=seed).train_labels) for seed in range(12)]
    assert {tuple(count) for count in counts} == {(2, 1, 1), (1, 2, 1), (1, 1, 2)}
    assert len(data.load_folder(tmp_path, subset=63).train_labels) == 63


def test_subset_is_chosen_before_decoding(tmp_path):
    write_classes(tmp_path / "train", {"a": 5, "b": 5})
    write_classes(tmp_path / "test", {"a": 1, "b": 1})
    chosen = shades(data.load_folder(tmp_path, subset=2).train_images)
    for shade in set(range(10)) - set(chosen):
        (tmp_path / "train" / "ab"[shade // 5] / f"{shade % 5:03}.png").write_bytes(b"")
    assert shades(data.load_folder(tmp_path, subset=2).train_images) == chosen


@pytest.mark.parametrize("subset", [1, 5])
def test_subset_out_of_range(tmp_path, subset):
    write_classes(tmp_path / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "test", {"a": 9, "b": 9})
    message = f"`subset` must lie between the number of classes, 2, and .* images, 4. Received: subset={subset}"
    with pytest.raises(ValueError, match=message):
        data.load_folder(tmp_path, subset=subset)


def test_memory_limit(tmp_path):
    write_classes(tmp_path, {"a": 3, "b": 3})
    needed = 6 * 100 * 100 * 3
    with pytest.raises(ValueError, match="6 images .* GiB. Received: max_bytes=.*smaller `image_size` or a `subset`"):
        data.load_folder(tmp_path, image_size=100, max_bytes=needed - 1)
    assert data.load_folder(tmp_path, image_size=100, max_bytes=needed).image_shape == (100, 100, 3)
    with pytest.raises(ValueError, match="take 1.68e.* GiB"):
        data.load_folder(tmp_path, image_size=10**9)


# Corrupt files


def damaged(folder: Path) -> dict[str, str]:
    """Write an empty, a truncated and a foreign file; return what is to be said about each."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("half.jpg", "half.png"):
        Image.fromarray(noise).save(folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:2000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "page.gif").write_text("<html>not found</html>")
    (folder / "dangling.png").symlink_to(folder / "gone.png")
    return {
        "half.jpg": "truncated",
        "half.png": "truncated",
        "empty.png": r"the file is empty \(0 bytes\)",
        "page.gif": "no image of a kind that Pillow reads",
        "dangling.png": "No such file",
    }


def test_corrupt_files_are_all_named(tmp_path):
    write_classes(tmp_path / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "test", {"a": 2, "b": 2})
    reasons = damaged(tmp_path / "train/a")
    (tmp_path / "test/b/zero.png").write_bytes(b"")
    with pytest.raises(ValueError, match="6 of 14 images in .* cannot be read") as caught:
        data.load_folder(tmp_path)
    for name, reason in reasons.items():
        assert caught.match(f"\n  train/a/{name}: .*{reason}")
    assert caught.match("\n  test/b/zero.png: ")
    assert caught.match("skip_corrupt=True .*--skip-corrupt")

    loaded = data.load_folder(tmp_path, image_size=8, skip_corrupt=True)
    assert sorted(loaded.skipped) == sorted([*(f"train/a/{name}" for name in reasons), "test/b/zero.png"])
    assert shades(loaded.train_images) == [0, 1, 2, 3]
    assert loaded.train_labels.tolist() == [0, 0, 1, 1]
    assert shades(loaded.test_images) == [0, 1, 2, 3]
    assert loaded.test_labels.tolist() == [0, 0, 1, 1]


def test_only_ten_corrupt_files_are_named(tmp_path):
    write_classes(tmp_path, {"a": 2, "b": 2})
    for index in range(13):
        (tmp_path / "a" / f"bad{index:02}.png").write_bytes(b"bad")
    with pytest.raises(ValueError, match="13 of 17 images .*The first 10:") as caught:
        data.load_folder(tmp_path)
    assert str(caught.value).count("bad") == 10


@pytest.mark.parametrize("limit", [3000, 1500])  # Pillow warns above its limit, and refuses above twice that
def test_decompression_bombs_are_corrupt(tmp_path, monkeypatch, limit):
    write_classes(tmp_path / "train", {"a": 1, "b": 1})
    write_classes(tmp_path / "test", {"a": 1, "b": 1})
    write(tmp_path / "train/a/bomb.png", size=(64, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match=r"1 of 5 images .*\n  train/a/bomb.png: .*decompression bomb"):
        data.load_folder(tmp_path, image_size=8)
    assert data.load_folder(tmp_path, skip_corrupt=True).skipped == ("train/a/bomb.png",)


@pytest.mark.parametrize(("part", "name"), [("train", "training"), ("test", "test")])
def test_no_class_may_vanish(tmp_path, part, name):
    write_classes(tmp_path / "train", {"a": 2, "b": 1})
    write_classes(tmp_path / "test", {"a": 2, "b": 1})
    (tmp_path / part / "b/000.png").write_bytes(b"bad")
    with pytest.raises(ValueError, match=f"all {name} images of 'b' are corrupt. Expected: at least one"):
        data.load_folder(tmp_path, skip_corrupt=True)


def test_everything_corrupt(tmp_path):
    for name in "abcdefghijkl":
        for index in "12":
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{index}.png").write_bytes(b"bad")
    with pytest.raises(ValueError, match="all training images of 'a', .*'j' and 2 more are corrupt"):
        data.load_folder(tmp_path, skip_corrupt=True)


# Sizes and pixels


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(24, 24)], 24),
        ([(64, 64)], 64),
        ([(65, 65)], 64),
        ([(24, 20)], 64),
        ([(24, 24), (32, 32)], 64),
    ],
)
def test_native_size(tmp_path, sizes, expected):
    for index, size in enumerate(sizes * 2):
        write(tmp_path / f"a/{index}.png", size=size)
        write(tmp_path / f"b/{index}.png", size=size)
    assert data.load_folder(tmp_path).image_shape == (expected, expected, 3)
    assert data.load_folder(tmp_path, image_size=10).image_shape == (10, 10, 3)


@pytest.mark.parametrize("wide", [True, False])
def test_central_square_is_cut(tmp_path, wide):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 4:12] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    pixels = pixels if wide else pixels.swapaxes(0, 1)
    path = write(tmp_path / "train/a/0.png")
    Image.fromarray(pixels).save(path)
    expected = pixels[:, 4:12] if wide else pixels[4:12]
    np.testing.assert_array_equal(load_one(path, image_size=8), expected)


def test_halving_is_smooth(tmp_path):
    """A ramp stays a ramp under (antialiased) bilinear scaling; only the edges see less of it."""
    path = write(tmp_path / "train/a/0.png")
    Image.fromarray(np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))).save(path)
    loaded = load_one(path, image_size=16)[..., 0].astype(int)
    np.testing.assert_array_equal(loaded[0, 1:-1], 16 * np.arange(1, 15) + 4)  # the mean of two neighbours
    np.testing.assert_array_equal(loaded, np.tile(loaded[0], (16, 1)))


def test_pixels_survive_exactly(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = write(tmp_path / "train/a/0.png")
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(load_one(path), pixels)


def test_grayscale(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = write(tmp_path / "train/a/0.png")
    Image.fromarray(pixels).save(path)
    loaded = load_one(path, color="grayscale")
    assert loaded.shape == (8, 8, 1)
    luma = pixels @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    np.testing.assert_allclose(loaded[..., 0], luma, atol=0.51)


ORIENTED = {  # EXIF orientation -> how a viewer turns what is stored
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation(tmp_path, orientation):
    pixels = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / "train/a/0.png")
    Image.fromarray(pixels).save(path, exif=exif)
    np.testing.assert_array_equal(load_one(path), ORIENTED[orientation](pixels))


def test_sixteen_bits(tmp_path):
    values = np.array([[0, 128, 129, 257], [32767, 32768, 65279, 65535]] * 2, np.uint16)
    path = write(tmp_path / "train/a/0.png")
    Image.fromarray(values).save(path)
    with Image.open(path) as image:
        assert image.mode.startswith("I")
    expected = np.array([[0, 0, 1, 1], [127, 128, 254, 255]] * 2)  # value / 257, rounded
    for channel in range(3):
        np.testing.assert_array_equal(load_one(path, image_size=4)[..., channel], expected)
    np.testing.assert_array_equal(load_one(path, image_size=4, color="grayscale")[..., 0], expected)


@pytest.mark.parametrize("name", ["0.png", "0.gif"])
def test_palette(tmp_path, name):
    colors = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)
    indices = np.random.default_rng(4).integers(0, 3, (8, 8), dtype=np.uint8)
    image = Image.fromarray(indices, "L")
    image.putpalette(colors.tobytes())
    path = tmp_path / "train/a" / name
    path.parent.mkdir(parents=True)
    image.save(path)
    with Image.open(path) as written:
        assert written.mode == "P"
    np.testing.assert_array_equal(load_one(path), colors[indices])


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore::bitat_tf.data.folder.FolderWarning")
def test_transparent_palette(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "L")
    image.putpalette([255, 0, 0, 0, 0, 255])
    path = write(tmp_path / "train/a/0.png")
    image.save(path, transparency=bytes([0, 255]))
    white, blue = [255, 255, 255], [0, 0, 255]
    np.testing.assert_array_equal(load_one(path, image_size=2), [[white, blue], [blue, white]])


@pytest.mark.parametrize("name", ["0.png", "0.webp"])
def test_transparency_is_laid_on_white(tmp_path, name):
    pixels = np.random.default_rng(5).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    path = tmp_path / "train/a" / name
    path.parent.mkdir(parents=True)
    Image.fromarray(pixels).save(path, **({"lossless": True, "exact": True} if name == "0.webp" else {}))
    alpha = pixels[..., 3:] / 255
    np.testing.assert_allclose(load_one(path), alpha * pixels[..., :3] + (1 - alpha) * 255, atol=1)


def test_gray_with_transparency(tmp_path):
    path = write(tmp_path / "train/a/0.png")
    Image.fromarray(np.array([[[10, 255], [10, 0]]] * 2, np.uint8), "LA").save(path)
    np.testing.assert_array_equal(load_one(path, image_size=2)[0], [[10] * 3, [255] * 3])


@pytest.mark.parametrize(("mode", "color", "expected"), [("CMYK", (0, 255, 255, 0), (255, 0, 0)), ("L", 7, (7,) * 3)])
def test_other_modes_of_jpeg(tmp_path, mode, color, expected):
    path = tmp_path / "train/a/0.jpg"
    path.parent.mkdir(parents=True)
    Image.new(mode, (16, 16), color).save(path, quality=100)
    np.testing.assert_allclose(load_one(path)[8, 8], expected, atol=4)


def test_black_and_white(tmp_path):
    path = write(tmp_path / "train/a/0.png")
    Image.new("1", (8, 8), 1).save(path)
    assert (load_one(path) == 255).all()


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    path = tmp_path / "train/a/0.gif"
    path.parent.mkdir(parents=True)
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert load_one(path)[0, 0].tolist() == [255, 0, 0]


# The pipelines


def numbered(count: int, shape=(8, 8, 1)) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose pixels all hold the number of the image, and labels that are 1000 more."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1), (count, *shape)).copy()
    return images, np.arange(count) + 1000


def order(dataset: tf.data.Dataset) -> list[int]:
    return [int(label) - 1000 for _, labels in dataset for label in labels]


@pytest.mark.parametrize("augment", ["none", "shift", "shift-flip"])
@pytest.mark.parametrize(("count", "batches"), [(20, [8, 8, 4]), (17, [8, 8, 1]), (8, [8]), (3, [3])])
def test_batches(augment, count, batches):
    images, labels = numbered(count)
    for dataset in (
        data.training_dataset(images, labels, 8, seed=0, augment=augment),
        data.evaluation_dataset(images, labels, 8),
    ):
        assert int(dataset.cardinality()) == len(batches)
        assert dataset.element_spec[0].shape.as_list() == [None, 8, 8, 1]
        seen = list(dataset)
        assert [len(pixels) for pixels, _ in seen] == batches
        for pixels, classes in seen:
            assert pixels.dtype == tf.float32
            assert classes.dtype == tf.int64
            np.testing.assert_array_equal(pixels[:, 0, 0, 0], classes - 1000)  # each image with its own label
    assert order(data.evaluation_dataset(images, labels, 8)) == list(range(count))


@pytest.mark.parametrize("augment", ["none", "shift", "shift-flip"])
def test_every_epoch_has_an_order_of_its_own(augment):
    images, labels = numbered(50)

    def epochs(seed):
        dataset = data.training_dataset(images, labels, 7, seed=seed, augment=augment)
        return [order(dataset) for _ in range(3)]

    one = epochs(0)
    assert all(sorted(epoch) == list(range(50)) for epoch in one)
    assert len({tuple(epoch) for epoch in [*one, list(range(50))]}) == 4
    assert epochs(0) == one
    assert epochs(1)[0] != one[0]


def test_pixels_are_not_rescaled():
    images = np.array([0, 127, 255], np.uint8).reshape(3, 1, 1, 1)
    (pixels, _), *_ = data.evaluation_dataset(images, np.zeros(3, np.int32), 3)
    assert pixels.numpy().ravel().tolist() == [0.0, 127.0, 255.0]


def variants(image: np.ndarray, flips=(False, True)) -> dict[bytes, tuple[bool, int, int]]:
    """Return all that augmentation may make of an image, by brute force: mirrored or not, padded, cut."""
    height, width = image.shape[:2]
    down, right = height // 8, width // 8
    found = {}
    for mirrored in flips:
        base = image[:, ::-1] if mirrored else image
        padded = np.pad(base, ((down, down), (right, right), (0, 0)), mode="reflect")
        for y in range(2 * down + 1):
            for x in range(2 * right + 1):
                found[padded[y : y + height, x : x + width].tobytes()] = (mirrored, y, x)
    return found


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 8, 3), (4, 4, 3)])
@pytest.mark.parametrize(("augment", "flips"), [("shift", (False,)), ("shift-flip", (False, True))])
def test_augmentation_makes_every_variant_and_no_other(shape, augment, flips):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images, labels = np.stack([image] * 1500), np.zeros(1500, int)
    dataset = data.training_dataset(images, labels, 100, seed=0, augment=augment)
    expected = variants(image, flips)
    counts = dict.fromkeys(expected.values(), 0)
    assert len(counts) == len(flips) * (2 * (shape[0] // 8) + 1) * (2 * (shape[1] // 8) + 1)
    for pixels, _ in dataset:
        for made in pixels.numpy():
            assert made.shape == shape
            counts[expected[made.astype(np.uint8).tobytes()]] += 1  # a KeyError for anything else
    share = 1500 / len(counts)
    spread = 5 * np.sqrt(share)  # five standard deviations
    assert all(abs(count - share) < spread for count in counts.values())


def test_augmentation_is_seeded_and_new_each_epoch():
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1), dtype=np.uint8).repeat(40, axis=0)

    def epochs(seed):
        dataset = data.training_dataset(images, np.zeros(40, int), 10, seed=seed, augment="shift-flip")
        return [np.concatenate([pixels for pixels, _ in dataset]) for _ in range(2)]

    first, second = epochs(5)
    np.testing.assert_array_equal([first, second], epochs(5))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, epochs(6)[0])
    assert not np.array_equal(first[:10], first[10:20])  # batches differ as well


def test_without_augmentation_images_stay():
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    dataset = data.training_dataset(images, np.arange(30), 7, seed=0)
    for pixels, classes in dataset:
        np.testing.assert_array_equal(pixels, images[classes.numpy()])


def test_an_epoch_is_a_function_of_the_steps_that_were_trained():
    images, labels = numbered(20)
    iterations = tf.Variable(0, dtype=tf.int64)
    dataset = data.training_dataset(images, labels, 6, seed=1, augment="shift", iterations=iterations)
    assert dataset.cardinality() == 4

    def epoch(number):
        iterations.assign(4 * number)
        return [(pixels.numpy(), classes.numpy()) for pixels, classes in dataset]

    epochs = [epoch(number) for number in range(3)]
    orders = [np.concatenate([classes for _, classes in batches]).tolist() for batches in epochs]
    assert all(sorted(order) == sorted(labels) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    for expected, found in zip(epochs[1], epoch(1), strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    counted = data.training_dataset(images, labels, 6, seed=1, augment="shift")
    for order in orders:  # its own count of epochs gives the same
        assert np.concatenate([classes.numpy() for _, classes in counted]).tolist() == order


RESUMED = """
import keras, numpy as np
from bitat_tf.data import training_dataset

images, labels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8), np.arange(20)

def train(first, epochs, restored=()):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(20)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.build(model.trainable_variables)
    dataset = training_dataset(images, labels, 6, seed=1, augment="shift", iterations=model.optimizer.iterations)

    def restore(logs):  # as a backup does: after the dataset was made
        for variable, value in zip((*model.variables, *model.optimizer.variables), restored):
            variable.assign(value)

    callback = keras.callbacks.LambdaCallback(on_train_begin=restore)
    model.fit(dataset, epochs=epochs, initial_epoch=first, verbose=0, callbacks=[callback])
    return [np.array(variable) for variable in (*model.variables, *model.optimizer.variables)]

at_once = train(0, 4)
for ours, theirs in zip(train(2, 4, train(0, 2)), at_once, strict=True):
    np.testing.assert_array_equal(ours, theirs)
print(keras.backend.backend())
"""


@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        pytest.param("jax", marks=[pytest.mark.slow, pytest.mark.skipif(find_spec("jax") is None, reason="no JAX")]),
    ],
)
def test_a_training_that_goes_on_has_the_batches_that_it_would_have_had(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    result = subprocess.run([sys.executable, "-c", RESUMED], capture_output=True, text=True, env=environment, check=False)
    assert result.stdout.split() == [backend], result.stderr


@pytest.mark.parametrize("make", [lambda *rest: data.training_dataset(*rest, seed=0), data.evaluation_dataset])
def test_dataset_errors(make):
    images, labels = numbered(4)
    with pytest.raises(ValueError, match="images must be uint8 pixels .* Received: float32.*Rescale them"):
        make(images.astype(np.float32), labels, 2)
    with pytest.raises(ValueError, match=r"shape \(n, height, width, channels\). Received: uint8, shape \(4, 8, 8\)"):
        make(images[..., 0], labels, 2)
    with pytest.raises(ValueError, match=r"labels of shape \(3,\).*argmax"):
        make(images, labels[:3], 2)
    with pytest.raises(ValueError, match=r"labels of shape \(4, 10\).*one-hot"):
        make(images, np.zeros((4, 10), int), 2)
    with pytest.raises(ValueError, match="expected at least one image"):
        make(images[:0], labels[:0], 2)
    with pytest.raises(ValueError, match=r"labels must be integers. Received: dtype float64. Pass labels.astype"):
        make(images, labels.astype(float), 2)
    with pytest.raises(ValueError, match="`batch_size` must be a finite number >= 1"):
        make(images, labels, 0)
    with pytest.raises(TypeError, match="`batch_size` must be an integer >= 1. Received: batch_size=2.5"):
        make(images, labels, 2.5)


def test_labels_are_checked_against_the_number_of_classes():
    images, labels = numbered(4)
    for make in (
        lambda classes: data.training_dataset(images, labels, 2, seed=0, num_classes=classes),
        lambda classes: data.evaluation_dataset(images, labels, 2, num_classes=classes),
    ):
        assert int(make(1004).cardinality()) == 2
        with pytest.raises(ValueError, match="1 outside, the first is label 1003 at index 3"):
            make(1003)


def test_training_seed_is_checked():
    with pytest.raises(TypeError, match="training_dataset: `seed` must be an integer"):
        data.training_dataset(*numbered(4), 2, seed=None)
    with pytest.raises(ValueError, match="training_dataset: `seed`"):
        data.training_dataset(*numbered(4), 2, seed=-1)


# The validation split


def test_split_validation():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [100, 50, 2]))
    images = np.arange(152).reshape(152, 1)
    split = data.split_validation(images, labels, 0.1, seed=0)
    train_images, train_labels, val_images, val_labels = split
    assert np.bincount(val_labels).tolist() == [10, 5, 1]
    assert sorted([*train_images.ravel(), *val_images.ravel()]) == list(range(152))
    for kept, its_labels in ((train_images, train_labels), (val_images, val_labels)):
        np.testing.assert_array_equal(labels[kept.ravel()], its_labels)
        assert (np.diff(kept.ravel()) > 0).all()
    for part, same in zip(split, data.split_validation(images, labels, 0.1, seed=0), strict=True):
        np.testing.assert_array_equal(part, same)
    assert not np.array_equal(val_images, data.split_validation(images, labels, 0.1, seed=1)[2])


def test_split_validation_always_leaves_something_to_train_on():
    _, train_labels, _, val_labels = data.split_validation(np.zeros((4, 1)), np.array([0, 0, 1, 1]), 0.9, seed=0)
    assert train_labels.tolist() == val_labels.tolist() == [0, 1]


def test_split_validation_errors():
    images, labels = np.zeros((5, 2)), np.array([0, 0, 1, 3, 3])
    with pytest.raises(ValueError, match="split_validation: .*at least 2 samples of every class.*1 sample of '1'"):
        data.split_validation(images, labels, 0.2, seed=0)
    with pytest.raises(ValueError, match="`share` must be a finite number > 0 and <= 0.9. Received: share=1"):
        data.split_validation(images, labels, 1, seed=0)
    with pytest.raises(ValueError, match=r"labels of shape \(4,\)"):
        data.split_validation(images, labels[:4], 0.2, seed=0)
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        data.split_validation(images, labels, 0.2, seed=0.5)
