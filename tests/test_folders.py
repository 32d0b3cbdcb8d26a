"""Which files of a folder count as images, which are left out and named, and what tells training and test images apart."""

import io
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from bitat_tf.data import load_folder, split_folder
from bitat_tf.data.folder import FolderWarning
from bitat_tf.kits.picture import read_picture


def noise(path, seed, size=(8, 8), **options):
    """Write an image that no other one is like."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two classes of three images."""
    for seed in range(6):
        noise(tmp_path / "pictures" / "ab"[seed % 2] / f"{seed}.png", seed)
    return tmp_path / "pictures"


FORMATS = ["tif", "tiff", "jfif", "jpe", "JPG", "ppm", "pgm", "tga", "jp2", "ico", "pcx", "gif", "webp"]
BY_CONTENT = [("", "JPEG"), ("", "TIFF"), (".jpg_large", "JPEG"), (".1", "PNG"), (".dat", "BMP")]


def test_what_pillow_reads_is_read(folder):
    names = FORMATS + ["avif"] * features.check("avif")
    for number, name in enumerate(names):
        noise(folder / "a" / f"more.{name}", 100 + number)
    for number, (name, kind) in enumerate(BY_CONTENT):
        noise(folder / "b" / f"more{number}{name}", 200 + number, format=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_folder(folder, image_size=8)
    assert len(loaded.train_images) + len(loaded.test_images) == 6 + len(names) + len(BY_CONTENT)
    assert (loaded.skipped, loaded.notes) == ((), ())


def test_what_is_left_out_is_named_with_its_number(folder):
    for name in ("1.HEIC", "2.HEIC", "3.mov", "4", "camera.dng", "page.eps"):
        (folder / "a" / name).write_bytes(b"II*\0\0\0\0\0 no picture")
    for name in (".hidden.heic", "Thumbs.db", "notes.txt", "README"):  # not worth a word
        (folder / "b" / name).write_text("text")
    noise(folder / "beside.png", 9)
    (folder / "b/linked").symlink_to(folder / "a")
    os.mkfifo(folder / "a/pipe.png")  # whose reading would never end
    with pytest.warns(FolderWarning) as caught:
        loaded = load_folder(folder)
    (note,) = loaded.notes
    assert str(caught[0].message) == f"load_folder: {note}"
    assert caught[0].filename == __file__
    listed = note.split("Pillow reads: ")[1].split(". Convert")[0].split(", ")
    assert listed[0] == ".HEIC (2)"
    others = [".mov (1)", "without an ending (1)", ".dng (1)", ".eps (1)", ".png (1)", "images beside the class folders (1)"]
    assert sorted(listed[1:]) == sorted([*others, "linked folders (1)"])
    assert len(loaded.train_images) + len(loaded.test_images) == 6


def test_folders_that_are_not_used_are_named(folder):
    root = folder.parent
    for part in ("train", "test", "val"):
        for seed in range(2):
            noise(root / part / "ab"[seed] / "0.png", len(part) + 10 * seed)
    with pytest.warns(FolderWarning, match=r"left out of .*everything in pictures/ \(2\), everything in val/ \(2\)"):
        load_folder(root)


def refuse_to_open(monkeypatch, name):
    """Let a folder or a file not be readable, for root as well."""
    iterdir, open_file = Path.iterdir, Path.open

    def refused(function):
        def call(path, *arguments, **options):
            if path.name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return call

    monkeypatch.setattr(Path, "iterdir", refused(iterdir))
    monkeypatch.setattr(Path, "open", refused(open_file))


def test_of_folders_that_are_not_used_only_what_is_in_them_counts(folder, monkeypatch):
    root = folder.parent
    for part in ("train", "held out", "Train"):  # two names that are one in small letters
        for seed in range(2):
            noise(root / part / "ab"[seed] / "0.png", len(part) * ord(part[0]) + seed)
    (root / "notes").mkdir()
    (root / "lost+found").mkdir()
    (root / "test").symlink_to(root / "held out")
    refuse_to_open(monkeypatch, "lost+found")
    expected = {"everything in pictures/": 2, "lost+found/, which is not readable": 1}
    monkeypatch.chdir(folder)
    for test in (None, root / "test", root / "held out", "../test", root / "train" / ".." / "test"):
        left_out = split_folder(root, test=test).left_out
        assert {name: left_out[name] for name in left_out if name.lower() != "everything in train/"} == expected
        assert left_out.total() == 5


def test_a_folder_that_may_not_be_entered_is_named(folder, monkeypatch):
    def refused(path, stat=os.stat, **options):
        if str(path).startswith(f"{folder / 'b'}{os.sep}"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(PermissionError, match=r"split_folder: the directory .*/b is not readable \(Permission denied\)"):
        split_folder(folder)


def test_a_file_that_may_not_be_opened_is_counted(folder, monkeypatch):
    (folder / "a" / "closed").write_text("text")
    refuse_to_open(monkeypatch, "closed")
    with pytest.warns(FolderWarning, match=r"left out of .*: without an ending \(1\)"):
        load_folder(folder, skip_corrupt=True)


def test_errors_name_the_function_that_was_called(folder):
    (folder / "empty").mkdir()
    for name in "cd":
        noise(folder.parent / "other" / name / "0.png", ord(name))
    for load in (split_folder, load_folder):
        name = load.__name__
        with pytest.raises(ValueError, match=f"^{name}: no image in .*empty"):
            load(folder)
        with pytest.raises(ValueError, match=f"^{name}: `test_share`"):
            load(folder, test_share=2.0)
        with pytest.raises(FileNotFoundError, match=f"^{name}: there is no directory"):
            load(folder / "nowhere")
        with pytest.raises(ValueError, match=f"^{name}: train and test must have the same classes"):
            load(folder, test=folder.parent / "other")


def avif():
    """Return an AVIF file whose pixels are zeros, and one that does not say where they are."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "AVIF")
    whole = file.getvalue()
    start = whole.index(b"mdat") + 4
    return {"avif": whole[:start] + bytes(len(whole) - start), "AVIF": whole.replace(b"iloc", b"none")}


DAMAGED = {  # what Pillow raises RuntimeError, NotImplementedError and its subclass BLPFormatError for
    **(avif() if features.check("avif") else {}),
    "dds": b"DDS " + struct.pack("<7I", 124, 0, 8, 8, 0, 0, 0) + bytes(100),
    "blp": b"BLP2" + struct.pack("<I4B2I", 9, 9, 0, 0, 0, 8, 8) + bytes(2000),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_of_rare_kinds_are_named(folder, kind):
    path = folder / "a" / f"damaged.{kind}"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(ValueError, match=f"1 of 7 images in .* cannot be read(.|\n)*a/damaged.{kind}: "):
        load_folder(folder)
    assert load_folder(folder, skip_corrupt=True).skipped == (f"a/damaged.{kind}",)
    with pytest.raises(ValueError, match=f"`picture` must be a picture that can be read. Received: {path} "):
        read_picture(path)
    path.rename(folder / "a" / "without")  # and by its content it is no image
    assert split_folder(folder).left_out == ({} if kind == "avif" else {"without an ending": 1})


def test_float_pixels_are_refused(folder):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(folder / "a/float.tif")
    with pytest.raises(ValueError, match="a/float.tif: its pixels are floats, of which it is not known what is white"):
        load_folder(folder)


def test_a_test_folder_of_its_own(folder, tmp_path):
    for seed in range(2):
        noise(tmp_path / "held_out" / "ab"[seed] / "0.png", 50 + seed)
    loaded = load_folder(folder, test=tmp_path / "held_out")
    assert (len(loaded.train_images), len(loaded.test_images), loaded.test_is_drawn) == (6, 2, False)
    (folder / "train").mkdir()
    for name in "ab":
        (folder / name).rename(folder / "train" / name)
    loaded = load_folder(folder, test=tmp_path / "held_out")  # of a data set in train/ and test/ that part which trains
    assert (len(loaded.train_images), loaded.notes) == (6, ())
    with pytest.raises(ValueError, match=r"a test image must not be a training image. Received: .*, which have 6 files in"):
        load_folder(folder, test=folder / "train")
    with pytest.raises(FileNotFoundError, match="there is no directory .*nowhere"):
        load_folder(folder, test=tmp_path / "nowhere")


def test_a_class_named_train_with_a_test_folder(tmp_path):
    for part in ("all", "held_out"):
        for number, name in enumerate(("bus", "train")):
            noise(tmp_path / part / name / "0.png", number + len(part))
    assert load_folder(tmp_path / "all", test=tmp_path / "held_out").class_names == ("bus", "train")


def test_images_that_are_in_both_parts_are_counted(folder):
    for number in range(2):
        (folder / f"a/copy{number}.png").write_bytes((folder / "a/0.png").read_bytes())
    with pytest.warns(FolderWarning, match="1 of 2 test images are among the training images as well, pixel for pixel"):
        load_folder(folder, seed=next(seed for seed in range(9) if "copy" in str(split_folder(folder, seed=seed).test.paths)))


def test_the_split_is_that_of_load_folder(folder):
    for seed in range(3):
        split, loaded = split_folder(folder, 0.4, seed), load_folder(folder, test_share=0.4, seed=seed)
        assert (split.drawn, loaded.test_is_drawn, split.class_names) == (True, True, loaded.class_names)
        for files, images, labels in (
            (split.train, loaded.train_images, loaded.train_labels),
            (split.test, loaded.test_images, loaded.test_labels),
        ):
            np.testing.assert_array_equal([np.asarray(Image.open(path)) for path in files.paths], images)
            np.testing.assert_array_equal(files.labels, labels)


@pytest.mark.parametrize("aspect", ["crop", "stretch", "pad"])
def test_how_images_become_square(folder, aspect):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 200
    Image.fromarray(pixels).save(folder / "a/wide.png")
    split = split_folder(folder)
    loaded = load_folder(folder, image_size=4, aspect=aspect)
    (part,) = [part for part in ("train", "test") if folder / "a/wide.png" in getattr(split, part).paths]
    image = getattr(loaded, f"{part}_images")[getattr(split, part).paths.index(folder / "a/wide.png")][..., 0]
    expected = {
        "crop": np.full((4, 4), 200),  # the middle as it is
        "stretch": np.array(Image.fromarray(pixels[..., 0]).resize((4, 4), Image.Resampling.BILINEAR)),
        "pad": np.pad(Image.fromarray(pixels[..., 0]).resize((4, 2), Image.Resampling.BILINEAR), [(1, 1), (0, 0)]),
    }
    np.testing.assert_array_equal(image, expected[aspect])
    with pytest.raises(ValueError, match="`aspect` must be one of 'crop', 'stretch', 'pad'. Received: aspect='squash'"):
        load_folder(folder, aspect="squash")


def test_names_that_are_no_utf_8(folder):
    name = os.fsdecode(b"caf\xe9")
    (folder / "a").rename(folder / name)
    (folder / "b" / os.fsdecode(b"th\xe9.png")).write_bytes(b"no picture")
    (folder / name / os.fsdecode(b"film.\xe9")).write_bytes(b"\0")
    with pytest.warns(FolderWarning, match=r"left out of .*: \.\\xe9 \(1\)"):
        loaded = load_folder(folder, image_size=8, skip_corrupt=True)
    assert (loaded.class_names, loaded.skipped) == (("b", r"caf\xe9"), (r"b/th\xe9.png",))
