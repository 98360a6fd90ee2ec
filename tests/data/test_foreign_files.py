"""Files as people, and attackers, really have them: taken where their meaning is certain, else told in one line."""

import multiprocessing
import os
import threading
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from tf_landslide.bands.layouts import LANDSLIDE4SENSE, MMLS
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.cli.main import main
from tf_landslide.core.errors import LandslideError, LandslideWarning
from tf_landslide.data import hdf5
from tf_landslide.data.folders import find_patches
from tf_landslide.data.hdf5 import image_layout, image_shape, noted_image, noted_mask, read_image, read_mask
from tf_landslide.data.pipeline import load_dataset
from tf_landslide.data.plan import epoch_plan
from tf_landslide.data.safe_hdf5 import _lzf_length
from tf_landslide.data.source import PatchSource, turned
from tf_landslide.data.statistics import inspect_data
from tf_landslide.evaluation.baselines import mark_everything
from tf_landslide.page.uploads import read_uploads
from tf_landslide.predict.load import load_predictor
from tf_landslide.runs.folder import Run

SECRET = b"root:x:0:0:" * 20
IMAGE = np.arange(4 * 4 * 7, dtype=np.float32).reshape(4, 4, 7)
MASK = (np.arange(16).reshape(4, 4) % 3 == 0).astype(np.uint8)


def write(path, **datasets):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in datasets.items():
            file.create_dataset(key, data=values)
    return path


def pointing(folder: Path, how: str, key: str, shape) -> Path:
    """A file whose dataset stands for bytes of another file."""
    secret, path = folder / "secret", folder / "file.h5"
    secret.write_bytes(SECRET)
    write(folder / "other.h5", **{key: np.full(shape, 77, np.uint8)})
    count = int(np.prod(shape))
    with h5py.File(path, "w") as file:
        if how == "external storage":
            file.create_dataset(key, shape, np.uint8, external=[(str(secret), 0, count)])
        elif how == "virtual dataset":
            layout = h5py.VirtualLayout(shape, np.uint8)
            layout[...] = h5py.VirtualSource(folder / "other.h5", key, shape)
            file.create_virtual_dataset(key, layout)
        elif how == "external link":
            file[key] = h5py.ExternalLink(str(folder / "other.h5"), key)
        elif how == "soft link to an external link":
            file["hop"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
            file[key] = h5py.SoftLink(f"/hop/{key}")
        elif how == "the only dataset":
            file["whatever"] = h5py.ExternalLink(str(folder / "other.h5"), key)
    return path


POINTERS = ["external storage", "virtual dataset", "external link", "soft link to an external link", "the only dataset"]


@pytest.mark.parametrize("how", POINTERS)
def test_no_reader_follows_a_file_into_another(how, tmp_path, monkeypatch):
    opened = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda *a, **k: opened.append(a[0]) or original(*a, **k))
    named = "another file|other files"
    for key, shape, reads in (("img", (4, 4, 7), (read_image, noted_image)), ("mask", (4, 4), (read_mask, noted_mask))):
        path = pointing(tmp_path, how, key, shape)
        for read in reads:
            with pytest.raises(LandslideError, match=named) as error:
                read(path)
            assert str(error.value).startswith(str(path)) and "77" not in str(error.value)
    path = pointing(tmp_path, how, "img", (4, 4, 7))
    assert image_shape(path) is None and image_layout(path) is None
    uploads, (problem,) = read_uploads([path])
    assert not uploads and problem.startswith("file.h5: ") and "77" not in problem
    assert "secret" not in str(opened)


@pytest.mark.parametrize("how", POINTERS[:4])
def test_hdf5_never_opens_the_other_file(how, tmp_path):
    """Where it is not there, HDF5 would say so; it is refused before it could look."""
    path = pointing(tmp_path, how, "img", (4, 4, 7))
    for name in ("secret", "other.h5"):
        (tmp_path / name).unlink()
    with pytest.raises(LandslideError, match=r"another file|other files"):
        read_image(path)


def test_a_link_within_the_file_is_followed(tmp_path):
    with h5py.File(tmp_path / "image_1.h5", "w") as file:
        file["store/bands"] = IMAGE
        file["img"] = h5py.SoftLink("/store/bands")
        file["loop"] = h5py.SoftLink("/loop")
    np.testing.assert_array_equal(read_image(tmp_path / "image_1.h5"), IMAGE)
    with h5py.File(tmp_path / "image_1.h5", "a") as file:
        del file["img"]
        file["img"] = h5py.SoftLink("/loop")
    with pytest.raises(LandslideError, match="leads nowhere"):
        read_image(tmp_path / "image_1.h5")


def test_an_error_quotes_nothing_of_a_mask(tmp_path):
    values = np.frombuffer(SECRET[:16], np.uint8).reshape(4, 4)
    with pytest.raises(LandslideError, match=r"16 of 16 mask values are neither 0, 1 nor 255 \(\d+ distinct") as error:
        read_mask(write(tmp_path / "mask_1.h5", mask=values))
    assert "114" not in str(error.value)  # an r


@pytest.mark.parametrize(
    "make",
    [
        lambda file: file.create_dataset("img", (5000, 5000, 14), np.float64),
        lambda file: file.create_dataset(
            "img", (5000, 5000, 14), np.float32, compression="gzip", chunks=(100, 100, 14)
        ),
        lambda file: file.create_dataset("img", (8, 8, 14), "f4", maxshape=(None, None, 14), chunks=(5000, 5000, 14)),
        lambda file: file.create_dataset("img", (20000, 20000, 3), np.uint8, chunks=(100, 100, 3)),
    ],
    ids=["contiguous", "compressed", "chunk", "bytes that become floats"],
)
def test_a_size_is_asked_before_memory_is_taken(make, tmp_path, monkeypatch):
    path = tmp_path / "image_1.h5"
    with h5py.File(path, "w") as file:
        make(file)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(hdf5, "_scratch", lambda *_: pytest.fail("allocated"))
    with pytest.raises(LandslideError, match=r"image_1\.h5: 'img' declares .* MB in memory; at most 1,074 MB"):
        read_image(path)
    with pytest.raises(LandslideError, match="at most 0 MB"):
        read_mask(write(tmp_path / "mask_1.h5", mask=np.zeros((64, 64), np.uint8)), limit=1000)


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
@pytest.mark.parametrize("side", [30_000, 2**40])
def test_nothing_is_allocated_by_the_size_that_a_patch_declares(tmp_path, monkeypatch, cache, side):
    for kind, shape in (("img", (side, side, 14)), ("mask", (side, side))):
        path = tmp_path / f"TrainData/{kind}/{'image' if kind == 'img' else kind}_1.h5"
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as file:
            file.create_dataset(kind, shape, "f4" if kind == "img" else "u1", chunks=(64, 64, 14)[: len(shape)])
    sizes: list[int] = []
    monkeypatch.setattr("tf_landslide.data.source.allocate", lambda path: sizes.append(path.stat().st_size))
    before = tracemalloc.start() or tracemalloc.get_traced_memory()[0]
    try:
        with pytest.raises(LandslideError, match=f"declares {side} x {side} x 14 numbers"):
            PatchSource.open(tmp_path, "train", channel_recipe(), cache=cache, cache_dir=tmp_path / "cache")
        assert tracemalloc.get_traced_memory()[1] - before < 2**28 and max(sizes, default=0) < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["img", "mask"])
def test_a_pipe_is_told_and_not_waited_for(tmp_path, kind):
    os.mkfifo(tmp_path / "image_1.h5")
    told: list[str] = []

    def read():
        for look in (read_image if kind == "img" else read_mask, image_shape):
            try:
                assert look(tmp_path / "image_1.h5") is None
            except LandslideError as error:
                told.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5)
    assert not reader.is_alive() and told == [f"{tmp_path}/image_1.h5: is not a regular file"]


def test_a_limit_holds_for_files_whose_header_is_known(tmp_path):
    path = write(tmp_path / "image_1.h5", img=np.zeros((16, 16, 14)))
    read_image(path)
    with pytest.raises(LandslideError, match="declares 16 x 16 x 14"):
        read_image(path, limit=16 * 16 * 14 * 4)


def test_a_piece_that_unpacks_to_more_than_it_declares_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "image_1.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("img", (8, 8, 14), "f4", compression="gzip", chunks=(8, 8, 14))
        data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(300_000_000), 9))
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(LandslideError, match="unpacks to more than it declares"):
        read_image(path, limit=2**24)


def test_lzf_that_unpacks_to_more_than_it_declares_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "image_1.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("img", (8, 8, 14), "f4", compression="lzf", chunks=(8, 8, 14))
        data.id.write_direct_chunk((0, 0, 0), b"\0\0" + b"\xe0\xff\0" * 1_000_000)  # 264 zeros each
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(LandslideError, match="unpacks to more than it declares"):
        read_image(path, limit=2**24)


@pytest.mark.parametrize("options", [{"scaleoffset": 3}, {"compression": "lzf"}, {"compression": "gzip"}])
def test_packing_whose_size_cannot_be_asked_is_refused(options, tmp_path, monkeypatch):
    """HDF5 takes as much memory for scale-offset as the file says it needs, and twice packed is packed for each."""
    path = tmp_path / "image_1.h5"
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((8, 8, 14))
        if "scaleoffset" not in options:
            properties.set_deflate(9)
        properties = _with(properties, options)
        space = h5py.h5s.create_simple((8, 8, 14))
        h5py.h5d.create(file.id, b"img", h5py.h5t.IEEE_F32LE, space, properties)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(LandslideError, match=r"compressed by (scale-offset|gzip and \w+), whose size cannot be asked"):
        read_image(path)


def _with(properties, options):
    if options.get("compression") == "lzf":
        properties.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL)
    elif options.get("compression") == "gzip":
        properties.set_deflate(9)
    else:
        properties.set_scaleoffset(h5py.h5z.SO_FLOAT_DSCALE, 3)
    return properties


def hide(folder: Path, value: int) -> dict[Path, np.ndarray]:
    """Have a fifth of every mask's pixels be of a value that means "ignore". Returns the masks as they then are."""
    rng, masks = np.random.default_rng(0), {}
    for path in sorted(folder.glob("*/mask/*.h5")):
        mask = read_mask(path).astype(np.int16)
        mask[rng.random(mask.shape) < 0.2] = value
        masks[write(path, mask=mask)] = mask
    return masks


def test_pixels_to_ignore_get_no_weight(copy):
    """Turned with their patches, whatever keeps them; and what says so is told once a split."""
    masks = hide(copy, 255)
    with pytest.raises(LandslideError, match=r"255 beside 0 and 1; data\.ignore=255 \(inspect --ignore 255\)"):
        load_dataset(copy, "train")
    expected = np.stack([masks[patch.mask] for patch in find_patches(copy, "train")])[..., None]
    for cache in ("memory", "none"):
        with pytest.warns(LandslideWarning, match="mask pixels of 255 are left out of every count"):
            dataset = load_dataset(copy, "train", batch_size=10, ignore=255, cache=cache)
        ((x, y, weight),) = dataset
        np.testing.assert_array_equal(weight, expected != 255)
        np.testing.assert_array_equal(y, expected == 1)
        assert x.shape[:3] == y.shape[:3] == weight.shape[:3] and weight.dtype == y.dtype == np.float32
        np.testing.assert_array_equal(dataset.source.positive, (expected == 1).any((1, 2, 3)))
        for label in (0, 1):
            np.testing.assert_array_equal(dataset.source.pixels[:, label], (expected == label).sum((1, 2, 3)))
        assert dataset.source.balance == (expected == 0).sum() / (expected == 1).sum()
    with pytest.warns(LandslideWarning):
        source = load_dataset(copy, "train", batch_size=10, ignore=255, augment=True, seed=1)
    _, symmetries = epoch_plan(0, source.source.positive, 1, shuffle=False, augment=True)
    ((_, _, weight),) = source
    for i, symmetry in enumerate(symmetries):
        np.testing.assert_array_equal(weight[i], turned(expected[i] != 255, symmetry))


@pytest.mark.slow
@pytest.mark.parametrize("value", [255, pytest.param(2, marks=pytest.mark.long), -1])
def test_a_run_counts_the_pixels_that_are_known_and_no_other(value, copy, config_file, tmp_path):
    masks, out = hide(copy, value), tmp_path / "run"
    assert main(["inspect", str(copy)]) == 2 and main(["inspect", str(copy), "--ignore", str(value), "--json"]) == 0
    settings = [f"data.ignore={value}", "training.epochs=1"]
    assert main(["train", str(config_file), *settings, "--data", str(copy), "--out", str(out)]) == 0
    run = Run.open(out)
    predictor, valid = load_predictor(out), find_patches(copy, "valid")
    channels = np.concatenate([predictor.channels(read_image(patch.image)[None]) for patch in valid])
    marked = predictor(channels)[..., 0] >= np.float32(run.threshold)
    truth = np.stack([masks[patch.mask] for patch in valid])
    known, scores = truth != value, run.metrics()["valid"]
    counts = {"tp": marked & (truth == 1), "fp": marked & (truth == 0), "fn": ~marked & (truth == 1)}
    assert {key: scores[key] for key in counts} == {key: int(pixels.sum()) for key, pixels in counts.items()}
    assert scores["tp"] + scores["fp"] + scores["fn"] + scores["tn"] == known.sum() < truth.size
    assert run.history[0]["val_f1"] == pytest.approx(scores["at_0.5"]["f1"], abs=1e-4)


def test_what_is_ignored_is_in_no_share_and_no_baseline(copy):
    masks = [mask for path, mask in hide(copy, 255).items() if "TrainData" in str(path)]
    found = inspect_data(copy, ignore=255)
    assert not found.problems and found.notes[0] == "train: mask pixels of 255 are left out of every count (10 files)"
    landslide, known = (
        sum(np.count_nonzero(test(mask)) for mask in masks)
        for test in (lambda mask: mask == 1, lambda mask: mask != 255)
    )
    assert found.splits["train"].landslide_fraction == pytest.approx(landslide / known, rel=1e-12)
    source = PatchSource.open(copy, "train", channel_recipe(LANDSLIDE4SENSE, "six"), ignore=255)
    assert mark_everything(source)["precision"] == pytest.approx(landslide / known, rel=1e-12)


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_pieces_that_are_sound_are_read_whatever_the_limit(compression, tmp_path):
    """Of numbers that hardly pack, as measured ones, and of numbers that do."""
    values = np.random.default_rng(0).random((64, 64, 14)).astype(np.float32)
    values[:, :20], values[:, 40:] = 0, np.round(values[:, 40:], 1)
    for i, options in enumerate(({}, {"shuffle": True}, {"fletcher32": True}, {"shuffle": True, "fletcher32": True})):
        with h5py.File(tmp_path / f"image_{i}.h5", "w") as file:
            stored = file.create_dataset("img", data=values, compression=compression, chunks=(32, 64, 14), **options)
            if compression == "lzf":
                packed, declared = stored.id.read_direct_chunk((0, 0, 0))[1], values.nbytes // 2
                assert _lzf_length(packed[: -4 if "fletcher32" in options else None], 10**9) == declared > len(packed)
        np.testing.assert_array_equal(read_image(tmp_path / f"image_{i}.h5", limit=values.nbytes), values)


def test_what_does_not_fit_into_memory_is_that_files_own_error(tmp_path, monkeypatch):
    good, bad = (write(tmp_path / f"image_{i}.h5", img=IMAGE) for i in (1, 2))
    original = hdf5._read

    def read(path, *rest):
        if path == bad:
            raise MemoryError
        return original(path, *rest)

    monkeypatch.setattr(hdf5, "_read", read)
    np.testing.assert_array_equal(read_image(good), IMAGE)
    with pytest.raises(LandslideError, match=r"image_2\.h5: does not fit into the memory"):
        read_image(bad)


def _hold(path, ready, done):
    with h5py.File(path, "a"):
        ready.set()
        done.wait(60)


@pytest.mark.slow
def test_a_file_held_open_by_another_program_is_told_so(tmp_path):
    path = write(tmp_path / "image_1.h5", img=IMAGE)
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(path), ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(LandslideError, match="is held open by another program"):
            read_image(path)
    finally:
        done.set()
        other.join()
    np.testing.assert_array_equal(read_image(path), IMAGE)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "may not be read; check its permissions"),
        (OSError(5, "Input/output error"), r"cannot be read \(input/output error\)"),
        (OSError(24, "Too many open files"), r"cannot be read \(too many open files\)"),
    ],
)
def test_each_cause_is_told_as_what_it_is(error, said, tmp_path, monkeypatch):
    path = write(tmp_path / "image_1.h5", img=IMAGE[..., :3])

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(LandslideError, match=said):
        read_image(path)


HEADS = {
    "scene.tif": (b"II*\0" + bytes(99), "is a TIFF image"),
    "picture.png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a PNG picture"),
    "array.npy": (b"\x93NUMPY" + bytes(99), "is a NumPy array"),
    "archive.zip": (b"PK\x03\x04" + bytes(99), "is a ZIP archive"),
}


@pytest.mark.parametrize("name", HEADS)
def test_other_kinds_of_files_are_named_with_what_to_do(name, run_folder, tmp_path, capsys):
    head, said = HEADS[name]
    (tmp_path / name).write_bytes(head)
    assert main(["predict", str(run_folder), str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / name}: {said}, expected an HDF5 file" in error and error.count("\n") == 1
    assert ("tf-landslide map MODEL SCENE.tif" in error) == ("TIFF" in said)
    assert ("unpack it" if "ZIP" in said else "to a dataset 'img' (height, width, bands) of an .h5 file") in error
    assert main(["inspect", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert f"{said}, expected a folder of HDF5 patches" in error and error.count("\n") == 1


def test_a_folder_given_to_predict_is_told_how_to_predict_it(run_folder, sample, tmp_path, capsys):
    assert main(["predict", str(run_folder), str(sample), "--out", str(tmp_path / "out")]) == 2
    assert f"is a folder, expected an HDF5 file; predict a dataset's with --data {sample}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "noted"),
    [
        (MASK * np.uint8(255), "masks of 0 and 255"),
        (MASK * 255.0, "masks of 0 and 255"),
        (MASK[..., None], None),
        (MASK[None], None),
        (MASK.astype(bool), None),
        (MASK.astype(np.float32), None),
        (MASK.astype(np.int8), None),
    ],
    ids=["0/255", "0.0/255.0", "(H, W, 1)", "(1, H, W)", "bool", "float", "int8"],
)
def test_masks_whose_meaning_is_certain_are_read(values, noted, tmp_path):
    path = write(tmp_path / "mask_1.h5", mask=values)
    mask = read_mask(path)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, MASK)
    assert [note[: len(noted)] for note in noted_mask(path).notes] == [noted] if noted else not noted_mask(path).notes


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 1], [255, 0]], np.uint8), r"holds 255 beside 0 and 1; data\.ignore=255"),
        (np.array([[0, 0.5], [1, 0]]), "1 of 4 mask values"),
        (np.array([[0, np.nan], [1, 0]]), "1 of 4 mask values"),
        (np.array([[0, 2], [3, 2]]), r"3 of 4 mask values are neither 0, 1 nor 255 \(3 distinct"),
        (np.zeros((2, 4, 4)), r"'mask' has shape \(2, 4, 4\), expected \(height, width\)"),
    ],
)
def test_masks_whose_meaning_is_not_certain_are_refused(values, said, tmp_path):
    with pytest.raises(LandslideError, match=said):
        read_mask(write(tmp_path / "mask_1.h5", mask=values))


@pytest.mark.parametrize("key", ["image", "data", "x", "bands_of_my_own"])
def test_an_image_of_another_name_is_read_where_it_is_the_only_one(key, tmp_path):
    path = write(tmp_path / "image_1.h5", **{key: IMAGE})
    np.testing.assert_array_equal(read_image(path), IMAGE)
    assert noted_image(path).notes == (f"datasets {key!r} are taken for 'img'",)
    assert image_shape(path) == IMAGE.shape and image_layout(path) == MMLS


@pytest.mark.parametrize("key", ["label", "labels", "gt", "y"])
def test_one_file_may_hold_both(key, tmp_path):
    path = write(tmp_path / "image_1.h5", image=IMAGE, other=np.zeros(3), **{key: MASK})
    np.testing.assert_array_equal(read_image(path), IMAGE)
    np.testing.assert_array_equal(read_mask(path), MASK)


def test_which_of_several_is_meant_is_never_guessed(tmp_path):
    for names in (("a", "b"), ("image", "data")):
        path = write(tmp_path / "image_1.h5", **dict.fromkeys(names, IMAGE))
        with pytest.raises(LandslideError, match=r"has no dataset 'img' .*several of which could be it"):
            read_image(path)
    with pytest.raises(LandslideError, match="has no dataset 'img'"):
        read_image(write(tmp_path / "image_1.h5", mask=IMAGE))  # a mask is never an image


def test_bands_first_are_told(tmp_path):
    path = write(tmp_path / "image_1.h5", img=np.zeros((14, 8, 8)))
    with pytest.raises(
        LandslideError, match=r"has 8 bands, .* has 14; its first axis has 14: the bands must be the last"
    ):
        read_image(path, LANDSLIDE4SENSE)


def test_a_file_that_says_another_layout_is_refused(tmp_path):
    path = write(tmp_path / "image_1.h5", img=np.ones((8, 8, 14)))
    with h5py.File(path, "a") as file:
        file["img"].attrs["layout"] = "landslide4sense_dn"
    assert image_layout(path).name == "landslide4sense_dn"
    with pytest.raises(LandslideError, match=r"in layout 'landslide4sense_dn', expected 'landslide4sense'"):
        read_image(path, LANDSLIDE4SENSE)
    with h5py.File(path, "a") as file:
        file["img"].attrs["layout"] = "mine"
    with pytest.raises(LandslideError, match="unknown band layout 'mine'"):
        image_layout(path)


def test_hidden_files_are_skipped_and_counted(copy, capsys):
    for name in ("._image_1.h5", ".DS_Store", "._image_99.h5"):
        (copy / "TrainData/img" / name).write_bytes(b"\0\5\26\7")
    found = inspect_data(copy)
    assert not found.problems and found.splits["train"].hidden == 3 and found.splits["valid"].hidden == 0
    assert main(["inspect", str(copy)]) == 0
    assert "3 hidden files skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("img/image_77.hdf5", "expected a name like image_12.h5"),
        ("img/IMAGE_77.h5", "expected a name like image_12.h5"),
        ("img/image_77.H5", "expected a name like image_12.h5"),
        ("img/mask_77.h5", "is named as a mask, in the folder of the images"),
        ("mask/image_77.h5", "is named as a image, in the folder of the masks"),
        ("img/image_77.tif", "is a TIFF image and is not taken"),
        ("img/tile.npy", "expected a name like"),
        ("img/image_77.h5.part", "expected a name like"),
    ],
)
def test_what_looks_like_a_patch_and_is_not_taken_is_named(name, said, copy):
    path = copy / "TrainData" / name
    path.write_bytes(b"II*\0")
    (problem,) = inspect_data(copy).problems
    assert problem.startswith(f"{path}: ") and ("TIFF" in problem or said in problem)
    with pytest.raises(LandslideError, match=path.name):
        find_patches(copy, "train")


def test_what_does_not_look_like_a_patch_is_let_be(copy):
    for name in ("README.md", "img/notes.txt", "img/image_1.png", "img/image_1.json", "mask/thumbs.db"):
        (copy / "TrainData" / name).write_bytes(b"\x89PNG")
    assert not inspect_data(copy).problems


def rewrite_masks(folder: Path, change) -> None:
    for path in folder.glob("*/mask/*.h5"):
        mask = read_mask(path)
        write(path, label=change(mask))


@pytest.mark.slow
def test_a_dataset_of_other_names_and_values_is_inspected_and_trained_on(copy, config_file, tmp_path, capsys):
    rewrite_masks(copy, lambda mask: mask[..., None] * np.uint8(255))
    found, plain = inspect_data(copy), 10
    assert not found.problems
    assert found.notes[:2] == [
        f"train: datasets 'label' are taken for 'mask' ({plain} files)",
        f"train: masks of 0 and 255 are taken for 0 and 1 ({found.splits['train'].landslide_patches} files)",
    ]
    out = tmp_path / "run"
    assert main(["train", str(config_file), "training.epochs=1", "--data", str(copy), "--out", str(out)]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len([line for line in said if "datasets 'label' are taken" in line and "train:" in line]) == 1


def test_a_split_in_which_255_may_mean_two_things_is_refused(copy):
    path = next(p.mask for p in find_patches(copy, "train") if not read_mask(p.mask).any())
    mask = np.zeros((128, 128), np.uint8)
    mask[0] = 255
    write(path, mask=mask)
    (problem,) = inspect_data(copy).problems
    assert problem.startswith(f"{path}: holds 0 and 255") and "255 may mean 'ignore'" in problem


def cut(folder: Path, side: int) -> None:
    for path in folder.glob("*/*/*.h5"):
        with h5py.File(path) as file:
            key = next(iter(file))
            values = file[key][:side, :side]
        write(path, **{key: values})


@pytest.mark.slow
def test_patches_of_any_size_are_padded_for_training_and_judged_as_they_are(copy, config_file, tmp_path, capsys):
    from tf_landslide.data.pipeline import load_dataset

    cut(copy, 100)
    arguments = ["train", str(config_file), "training.epochs=1", "--data", str(copy), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "train patches are 100 x 100" in (error := capsys.readouterr().err) and "data.pad=true" in error
    plain = next(load_dataset(copy, "train", batch_size=10).as_numpy_iterator())
    padded = next(load_dataset(copy, "train", batch_size=10, pad=True).as_numpy_iterator())
    for part, whole in zip(plain, padded, strict=True):
        edges = [(0, 0), (0, 28), (0, 28), (0, 0)]
        np.testing.assert_array_equal(whole, np.pad(part, edges, mode="symmetric"))
    assert main([*arguments, "data.pad=true"]) == 0
    from tf_landslide.runs.folder import Run

    train = Run.open(tmp_path / "run").metrics()["train"]
    counted = [value for key, value in train.items() if key in ("tp", "fp", "fn", "tn", "pixels")]
    assert train["patches"] == 10 and all(value <= 10 * 100 * 100 for value in counted)
