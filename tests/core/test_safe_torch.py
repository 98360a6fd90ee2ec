"""Checkpoints that are not what they say: each is one line, nothing in it is run, and memory stays small."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import ROOT
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_torch import read_tensors, write_tensors


def tensors():
    rng = np.random.default_rng(0)
    return {"a.weight": rng.normal(size=(2, 3, 1, 1)).astype(np.float32), "a.count": np.int64(7).reshape(())}


def archive(path, pickled, members=(), compression=zipfile.ZIP_STORED, folder="archive/"):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(f"{folder}data.pkl", pickled)
        for name, content in members:
            file.writestr(folder + name, content)
    return path


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def whole(value):
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tup(*parts):
    return b"(" + b"".join(parts) + b"t"


def tensor(key="0", count=6, size=(6,), stride=(1,), offset=0, kind="FloatStorage"):
    """The opcodes of a tensor, written by hand after PyTorch's documentation of its format."""
    reference = tup(text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), whole(count)) + b"Q"
    described = tup(reference, whole(offset), tup(*map(whole, size)), tup(*map(whole, stride)), b"\x89", b"}")
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + described + b"R"


def state(*entries):
    """A pickled dict of names and opcodes."""
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in entries) + b"u."


def refused(path, said):
    with pytest.raises(LandslideError, match=said) as error:
        read_tensors(path)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(path))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_what_is_written_is_read(tmp_path, name):
    write_tensors(tmp_path / name, tensors())
    again = read_tensors(tmp_path / name)
    assert list(again) == list(tensors())
    for key, value in tensors().items():
        assert again[key].dtype == value.dtype and again[key].shape == value.shape
        np.testing.assert_array_equal(again[key], value)


def test_the_opcodes_of_these_tests_make_a_checkpoint(tmp_path):
    values = np.arange(6, dtype=np.float32)
    turned = tensor(size=(2, 3), stride=(1, 2))
    path = archive(tmp_path / "a.pth", state(("a", turned), ("b", tensor())), [("data/0", values.tobytes())])
    read = read_tensors(path)
    np.testing.assert_array_equal(read["a"], values.reshape(3, 2).T)
    np.testing.assert_array_equal(read["b"], values)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("HalfStorage", np.float16), ("DoubleStorage", np.float64), ("LongStorage", np.int64), ("BoolStorage", np.bool_)],
)
def test_every_storage_has_its_type(tmp_path, kind, dtype):
    values = np.array([0, 1, 1], dtype)
    path = archive(
        tmp_path / "a.pth", state(("a", tensor(count=3, size=(3,), kind=kind))), [("data/0", values.tobytes())]
    )
    np.testing.assert_array_equal(read_tensors(path)["a"], values)


def test_bfloat16_is_read(tmp_path):
    halves = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    path = archive(
        tmp_path / "a.pth",
        state(("a", tensor(count=2, size=(2,), kind="BFloat16Storage"))),
        [("data/0", halves.tobytes())],
    )
    np.testing.assert_array_equal(read_tensors(path)["a"].astype(np.float32), [1.5, -2.0])


def _calls(target):
    """A pickle that calls what it names, as ``pickle`` itself writes it."""

    class Evil:
        def __reduce__(self):
            return target

    return pickle.dumps({"state_dict": Evil()}, protocol=2)


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ((os.system, ("touch executed",)), "posix.system"),
        ((eval, ("open('executed', 'w')",)), "__builtin__.eval"),
        ((subprocess.Popen, (["touch", "executed"],)), r"\w+\.Popen"),
    ],
    ids=["os.system", "eval", "Popen"],
)
def test_code_in_a_pickle_is_refused_by_name_and_not_run(tmp_path, monkeypatch, target, named):
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path / "evil.pth", _calls(target))
    refused(path, rf"names {named}, which is no tensor and could execute anything; save the state dict alone")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("module", ["torch.serialization\nload", "torch\nhub", "tf_landslide.core.files\nreplacing"])
def test_any_other_name_is_refused(tmp_path, module):
    refused(archive(tmp_path / "a.pth", f"\x80\x02c{module}\n.".encode("latin-1")), "names ")


FORGED = {
    "a hundred gigabytes": (tensor(count=25 * 10**9, size=(25 * 10**9,)), "declares a tensor of 25,000,000,000 values"),
    "more values than stored": (tensor(size=(7,)), "declares a tensor of 7 values, its storage holds 6"),
    "a stride over the end": (tensor(size=(2, 2), stride=(5, 2)), "its storage holds 6"),
    "a stride of nothing": (tensor(size=(10**9,), stride=(0,)), "declares a tensor of 1,000,000,000 values"),
    "a stride backwards": (tensor(size=(2,), stride=(-1,)), "described wrongly"),
    "an offset before": (tensor(offset=-4, size=(1,)), "described wrongly"),
    "an offset behind": (tensor(offset=6, size=(1,)), "its storage holds 6"),
    "sizes that overflow": (tensor(size=(2**40, 2**40), stride=(0, 0)), "declares a tensor of"),
    "other dimensions": (tensor(size=(2, 3), stride=(1,)), "described wrongly"),
    "a key elsewhere": (tensor(key="../../../etc/passwd"), "lacks the values of a tensor"),
    "a storage of another type": (tensor(kind="DoubleStorage"), "its storage holds 3"),
    "an unknown storage": (tensor(kind="UntypedStorage"), "names torch.UntypedStorage"),
    "a number for a storage": (b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01))\x89}tR", "no checkpoint that can be"),
    "a call of a number": (b"K\x01)R", "no checkpoint that can be read"),
    "a stack that is empty": (b"000", "torch.save does not write"),
    "a mark that is missing": (b"t", "no checkpoint that can be read"),
    "memory of a memo": (b"}r\xff\xff\xff\xff", "holds no state dict"),
    "bytes of no end": (b"\x8e" + struct.pack("<Q", 1 << 40), "no checkpoint that can be read"),
    "a key of a thousand tuples": (b"}" + b")" + b"\x85" * 300_000 + b"K\x01s", "no checkpoint that can be read"),
    "an attribute of a class": (b"ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb", "holds no state dict"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_tensor_is_refused(tmp_path, name):
    forged, said = FORGED[name]
    refused(archive(tmp_path / "a.pth", state(("a", forged)), [("data/0", bytes(24))]), said)


def test_a_second_look_at_a_storage_cannot_reach_behind_it(tmp_path):
    """The second declares more than the first, which was read already."""
    entries = ("a", tensor()), ("b", tensor(count=10**6, size=(10**6,)))
    refused(archive(tmp_path / "a.pth", state(*entries), [("data/0", bytes(24))]), "1,000,000 values")


def test_a_thousand_views_of_one_storage_take_its_memory_once(tmp_path):
    entries = [(f"t{i}", tensor(count=10**6, size=(10**6,))) for i in range(1000)]
    path = archive(tmp_path / "a.pth", state(*entries), [("data/0", bytes(4 * 10**6))])
    assert peak_mb_of_reading(path) < 100


def peak_mb_of_reading(path) -> float:
    """Of the resident memory, beyond what importing takes."""
    code = (
        "import re, sys; from pathlib import Path; from tf_landslide.core.safe_torch import read_tensors\n"
        "from tf_landslide.core.errors import LandslideError\n"
        # not ru_maxrss, which begins with that of the process that starts this one
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024\n"
        "before = peak()\n"
        "try: kept = read_tensors(Path(sys.argv[1]))\n"
        "except LandslideError as error: print(error, file=sys.stderr)\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_a_compressed_bomb_is_not_unpacked(tmp_path):
    path = archive(
        tmp_path / "bomb.pth",
        state(("a", tensor(count=10**8, size=(10**8,)))),
        [("data/0", bytes(4 * 10**8))],
        zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 1_000_000
    refused(path, "compressed members")
    assert peak_mb_of_reading(path) < 50


def test_an_index_that_declares_a_hundred_gigabytes_is_refused(tmp_path):
    """The sizes in the zip archive's own index are the file's word, too."""
    path = archive(tmp_path / "a.pth", state(("a", tensor())), [("data/0", bytes(24))])
    raw = bytearray(path.read_bytes())
    place = raw.rfind(b"PK\x01\x02")
    raw[place + 20 : place + 28] = struct.pack("<II", 0xFFFFFF00, 0xFFFFFF00)
    path.write_bytes(raw)
    refused(path, "declares 4,294,967,040 bytes in data/0")


def test_an_index_of_countless_members_is_not_read(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", state(("a", tensor())))
    raw = bytearray(path.read_bytes())
    end = raw.rfind(b"PK\x05\x06")
    raw[end + 8 : end + 12] = struct.pack("<HH", 60_000, 60_000)
    path.write_bytes(raw)
    refused(path, "holds more arrays than any network")


def test_a_large_pickle_is_refused_before_it_is_read(tmp_path):
    path = archive(tmp_path / "a.pth", b"\x80\x02" + b"}" * (5 << 20) + b".")
    refused(path, r"declares 5,242,883 bytes in data\.pkl, more than it can hold")


def test_a_pickle_in_a_pickle_is_bytes(tmp_path):
    inner = _calls((os.system, ("touch executed",)))
    outer = pickle.dumps({"state_dict": inner}, protocol=2)
    refused(archive(tmp_path / "a.pth", outer), "names _codecs.encode|does not write|holds no state dict")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, name, share):
    whole_file = tmp_path / f"whole.{name}"
    write_tensors(whole_file, {"a": np.ones((100, 100), np.float32), "b": np.ones(3, np.float32)})
    raw = whole_file.read_bytes()
    (tmp_path / name).write_bytes(raw[: int(len(raw) * share)])
    refused(tmp_path / name, "cut off|ends outside|neither|declares a header")


def test_every_changed_byte_of_a_small_checkpoint_is_read_or_refused(tmp_path):
    """Whatever a byte becomes: tensors or one line, no other end."""
    rng, path = np.random.default_rng(0), tmp_path / "a.pth"
    raw = archive(path, state(("a", tensor())), [("data/0", bytes(24)), ("byteorder", "little")]).read_bytes()
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            read_tensors(path)
        except LandslideError as error:
            assert "\n" not in str(error)


def test_big_endian_is_refused(tmp_path):
    members = [("data/0", bytes(24)), ("byteorder", "big")]
    refused(archive(tmp_path / "a.pth", state(("a", tensor())), members), "big-endian machine")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither a PyTorch checkpoint nor a safetensors file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "neither a PyTorch checkpoint nor"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "is cut off or damaged"),
        (
            b"\x80\x02K\x01.\x80\x02K\x02.\x80\x02X\x0d\0\0\0little_endian.\x80\x02K\x03.\x80\x02].",
            "is a pickle, but no",
        ),
    ],
    ids=["empty", "HDF5", "legacy cut off", "pickles"],
)
def test_other_files_are_told_apart(tmp_path, content, said):
    (tmp_path / "a.pth").write_bytes(content)
    refused(tmp_path / "a.pth", said)


def test_an_archive_of_something_else_is_told_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as file:
        file.writestr("readme.txt", "hello")
    refused(tmp_path / "a.pth", "is a zip archive, but no PyTorch checkpoint")


def test_a_missing_file_is_told_so(tmp_path):
    refused(tmp_path / "none.pth", "cannot be read")


def _lightning(**around):
    """What Lightning saves: a network among callbacks, settings and an optimiser's numbers."""
    parts = [("epoch", b"K\x03"), ("callbacks", around.get("callbacks", b"}"))]
    settings = b"cpytorch_lightning.utilities.parsing\nAttributeDict\n)\x81}X\x02\x00\x00\x00lrG?PbM\xd2\xf1\xa9\xfcsb"
    inner = b"ccollections\nOrderedDict\n)R(" + text("model.a") + tensor() + b"u"
    return state(*parts, ("hyper_parameters", settings), ("state_dict", inner))


def test_a_lightning_checkpoint_gives_its_network(tmp_path):
    """Callbacks keep plain numbers under their names."""
    callbacks = b"}(" + text("ModelCheckpoint") + b"}(" + text("best") + tensor(size=(), stride=()) + b"uu"
    path = archive(tmp_path / "a.ckpt", _lightning(callbacks=callbacks), [("data/0", bytes(24))])
    assert list(read_tensors(path)) == ["model.a"]


def test_a_lightning_checkpoint_with_a_class_says_what_to_do(tmp_path):
    callbacks = b"cpytorch_lightning.callbacks\nModelCheckpoint\n)R"
    path = archive(tmp_path / "a.ckpt", _lightning(callbacks=callbacks), [("data/0", bytes(24))])
    refused(path, r"names pytorch_lightning.callbacks.ModelCheckpoint, .* save the state dict alone: torch\.save")


def safetensors(path, header, values=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + values)
    return path


def entry(begin, end, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


FORGED_SAFE = {
    "overlapping": ({"a": entry(0, 8), "b": entry(4, 12)}, "'b' overlaps another"),
    "one inside another": ({"a": entry(0, 16, (4,)), "b": entry(4, 8, (1,))}, "'b' overlaps another"),
    "beyond the end": ({"a": entry(16, 24)}, "'a' ends outside the file"),
    "negative": ({"a": entry(-8, 0)}, "described wrongly"),
    "backwards": ({"a": entry(8, 0)}, "declares -8 bytes"),
    "a hundred gigabytes": ({"a": entry(0, 10**11, (25 * 10**9,))}, "ends outside the file"),
    "a shape that overflows": ({"a": entry(0, 8, (2**62, 2**62))}, "described wrongly"),
    "a shape that is long": ({"a": entry(0, 4, (1,) * 1000)}, "described wrongly"),
    "a fraction": ({"a": entry(0, 8, (1.5,))}, "described wrongly"),
    "an unknown type": ({"a": entry(0, 8, dtype="F8_E4M3")}, "described wrongly"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, "described wrongly"),
    "nothing": ({}, "holds no tensors"),
    "no mapping": (b"{" + b"[" * 100_000, "damaged header"),
    "a list inside": ({"a": 3}, "damaged header"),
    "no text": (b"{\xff\xfe}", "damaged header"),
}


@pytest.mark.parametrize("name", FORGED_SAFE)
def test_a_forged_safetensors_file_is_refused(tmp_path, name):
    header, said = FORGED_SAFE[name]
    refused(safetensors(tmp_path / "a.safetensors", header, bytes(16)), said)


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 10**11) + b"{}")
    refused(tmp_path / "a.safetensors", "declares a header of 100,000,000,000 bytes in a file of 10")


def test_metadata_is_no_tensor(tmp_path):
    header = {"__metadata__": {"format": "pt"}, "a": entry(0, 8)}
    values = np.array([1, 2], np.float32)
    read = read_tensors(safetensors(tmp_path / "a.safetensors", header, values.tobytes()))
    assert list(read) == ["a"] and np.array_equal(read["a"], values)


def test_a_file_of_torch_save_is_read():
    """PyTorch 2.13 wrote it: ``{"state_dict": {"turned", "parameter", "shared", "half", "count"}, "epoch": 3}``."""
    read = read_tensors(Path(__file__).with_name("torch_saved.pth"))
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name in ("turned", "parameter"):
        np.testing.assert_array_equal(read[name], values.T)
    np.testing.assert_array_equal(read["shared"], values[1])
    assert read["half"].dtype == ml_dtypes.bfloat16 and read["half"].tolist() == [1.5, -2.0]
    assert read["count"].dtype == np.int64 and read["count"] == 7


LEGACY = Path(__file__).with_name("torch_saved_legacy.pth")


def test_a_file_in_the_format_before_torch_1_6_is_read():
    """PyTorch 2.13 wrote it so: ``{"state_dict": {"a", "b": a.t()[1:3], "c", "h", "n"}, "epoch": 3}``."""
    read = read_tensors(LEGACY)
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(read["a"], a)
    np.testing.assert_array_equal(read["b"], a.T[1:3])
    np.testing.assert_array_equal(read["c"], np.arange(5))
    assert read["h"].dtype == np.float16 and read["h"].tolist() == [1.5, -2.0] and read["n"] == 7


def test_code_in_a_legacy_file_is_refused_by_name(tmp_path):
    changed = LEGACY.read_bytes().replace(b"collections\nOrderedDict", b"posix\nsystem")
    (tmp_path / "a.pth").write_bytes(changed)
    refused(tmp_path / "a.pth", "names posix.system")


@pytest.mark.parametrize("values", [4, 5 << 33, -1])
def test_a_legacy_storage_of_another_length_is_refused(tmp_path, values):
    raw = LEGACY.read_bytes()
    place = raw.index((12).to_bytes(8, "little"))  # before the values of "a"
    (tmp_path / "a.pth").write_bytes(raw[:place] + values.to_bytes(8, "little", signed=True) + raw[place + 8 :])
    refused(tmp_path / "a.pth", "than it can hold")


def test_a_legacy_tensor_of_a_hundred_gigabytes_is_refused(tmp_path):
    raw, count = LEGACY.read_bytes(), b"K\x0c"  # of the storage of "a" and "b", in the pickle
    assert raw.count(count) == 2
    (tmp_path / "a.pth").write_bytes(raw.replace(count, b"\x8a\x05" + (25 << 30).to_bytes(5, "little")))
    refused(tmp_path / "a.pth", "than it can hold")


def test_every_changed_byte_of_a_legacy_file_is_read_or_refused(tmp_path):
    raw, path, rng = bytearray(LEGACY.read_bytes()), tmp_path / "a.pth", np.random.default_rng(0)
    for place in [*range(len(raw)), *(-n for n in range(1, len(raw), 7))]:
        changed = bytearray(raw[:place]) if place < 0 else bytearray(raw)
        if place >= 0:
            changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            read_tensors(path)
        except LandslideError as error:
            assert "\n" not in str(error)
