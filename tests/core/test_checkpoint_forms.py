"""The forms in which people have checkpoints, and what is told of those that cannot be read."""

import os
import pickle
import struct
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.core.test_safe_torch import (
    archive,
    entry,
    peak_mb_of_reading,
    refused,
    safetensors,
    state,
    tensor,
    text,
    whole,
)
from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_torch import read_tensors


def network(name="a.weight"):
    """The opcodes of a state dict of one tensor."""
    return b"}(" + text(name) + tensor() + b"u"


def checkpoint(path, *entries):
    return archive(path, state(*entries), [("data/0", bytes(24))])


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_trainers_keep_beside_the_weights_is_passed_over(protocol):
    """PyTorch 2.13 wrote it: ``{"net": {"a.weight", "b.weight"}}`` and, beside it, NumPy's numbers and random state, a
    Namespace with a path, a date, a Counter, a defaultdict, sets, types, bytes, keys that are no text, and the
    state of a generator.
    """
    read = read_tensors(Path(__file__).with_name(f"torch_saved_beside_{protocol}.pth"))
    assert list(read) == ["a.weight", "b.weight"]
    np.testing.assert_array_equal(read["a.weight"], np.arange(12, dtype=np.float32).reshape(3, 4).T)
    assert read["b.weight"].dtype == ml_dtypes.bfloat16 and read["b.weight"].tolist() == [1.5, -2.0]


def test_what_is_passed_over_is_not_called(tmp_path):
    """``bytearray`` of an enormous number would take all memory."""
    path = checkpoint(
        tmp_path / "a.pth", ("net", network()), ("b", b"c__builtin__\nbytearray\n(\x8a\x05\0\0\0\0\x40tR")
    )
    assert list(read_tensors(path)) == ["a.weight"] and peak_mb_of_reading(path) < 50


@pytest.mark.parametrize("module", ["__builtin__\ngetattr", "builtins\neval", "numpy\nload", "collections\nnamedtuple"])
def test_other_names_of_those_modules_are_refused(tmp_path, module):
    refused(archive(tmp_path / "a.pth", f"\x80\x02c{module}\n.".encode("latin-1")), "could execute anything")


def test_a_name_of_protocol_4_is_refused_as_well(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch executed",)

    refused(archive(tmp_path / "a.pth", pickle.dumps(Evil(), protocol=4)), "names posix.system, which is no tensor")


def test_several_state_dicts_are_told_by_their_keys(tmp_path):
    path = checkpoint(tmp_path / "a.pth", ("generator", network()), ("discriminator", network("b.weight")))
    refused(
        path, r"holds 2 state dicts: 'generator', 'discriminator'; .* torch\.save\(torch\.load\(FILE\)\['generator'\]"
    )


@pytest.mark.parametrize("kind", ["ctorch\nComplexFloatStorage\n", "ctorch._utils\n_rebuild_qtensor\n"])
def test_a_kind_of_tensor_that_is_not_read_is_told_as_one(tmp_path, kind):
    path = checkpoint(tmp_path / "a.pth", ("a", kind.encode()))
    refused(path, r"names torch\S+, a kind of tensor that is not read; save floating-point tensors: model\.float\(\)")


def test_a_torchscript_program_is_told_so(tmp_path):
    path = archive(tmp_path / "a.pt", b"\x80\x02c__torch__.net\nNet\n.", [("constants.pkl", b"\x80\x02).")])
    refused(path, r"is a TorchScript program; save its state dict: torch\.save\(torch\.jit\.load")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "but empty; fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "but Git LFS's pointer to one"),
        (b"\n<!DOCTYPE html><html>", r"but a web page; fetch the file itself .*/resolve/"),
        (pickle.dumps({"a": "x" * 9000}), "is a pickle, but no PyTorch checkpoint; save one"),
        (pickle.dumps(os.system, protocol=2), "is a pickle, but no PyTorch checkpoint; save one"),
    ],
    ids=["empty", "LFS", "web page", "pickle", "pickle of a function"],
)
def test_what_stands_in_a_checkpoints_place_is_told(tmp_path, content, said):
    (tmp_path / "a.pth").write_bytes(content)
    refused(tmp_path / "a.pth", said)


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    done = threading.Thread(target=refused, args=(tmp_path / "a.pth", "is not a regular file"), daemon=True)
    done.start()
    done.join(10)
    assert not done.is_alive()
    refused(Path("/dev/zero"), "is not a regular file")


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    """Which of the two counts, readers of zip archives do not agree on."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "a.pth", state(("a", tensor())), [("data/0", bytes(24)), ("data/0", bytes(24))])
    refused(path, "holds a member twice")


@pytest.mark.parametrize("opcode", [b"}", b"K\x07"], ids=["dicts", "numbers"])
def test_a_small_pickle_of_countless_objects_takes_little(tmp_path, opcode):
    path = archive(tmp_path / "a.pth", b"\x80\x02" + opcode * ((4 << 20) // len(opcode) - 8) + b".")
    refused(path, "holds more than any checkpoint of a network here")
    assert peak_mb_of_reading(path) < 100


@pytest.mark.parametrize(
    "forged",
    [
        f"cevil\x1b[2J\nsys\x1b[31mtem{'x' * 100_000}\n".encode(),
        tensor(key="0\nerror: fine\x1b[2J" + "x" * 100_000),
        tensor().replace(whole(6) + b"tQ", b"\x8a\xff" + b"\x7f" * 255 + b"tQ"),
    ],
    ids=["name", "key", "number"],
)
def test_no_name_in_a_file_steers_the_terminal_or_fills_it(tmp_path, forged):
    with pytest.raises(LandslideError) as error:
        read_tensors(checkpoint(tmp_path / "a.pth", ("a", forged)))
    assert str(error.value).isprintable() and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": entry(8, 16)}, "holds 8 bytes that belong to no tensor"),
        ({"a": entry(0, 8)}, "holds 8 bytes that belong to no tensor"),
        ({"a": entry(0, 16, (4,)), "b": entry(16, 16, (0, 1 << 59, 1 << 59))}, "'b' is described wrongly"),
        ({"a": entry(0, 10**4000)}, "'a' is described wrongly"),
    ],
    ids=["a hole", "a tail", "an impossible nothing", "a number of pages"],
)
def test_a_safetensors_file_holds_its_tensors_and_nothing_else(tmp_path, header, said):
    refused(safetensors(tmp_path / "a.safetensors", header, bytes(16)), said)


def test_four_gigabytes_behind_a_safetensors_file_are_not_read(tmp_path):
    path = safetensors(tmp_path / "a.safetensors", {"a": entry(0, 8)}, bytes(8))
    with path.open("r+b") as file:
        file.truncate(4 << 30)
    refused(path, "that belong to no tensor")


def test_a_safetensors_file_is_in_memory_once(tmp_path):
    count = 20_000_000
    path = safetensors(tmp_path / "a.safetensors", {"a": entry(0, 4 * count, (count,))}, bytes(4 * count))
    assert peak_mb_of_reading(path) < 1.3 * 4 * count / 2**20


def test_a_tensor_of_nothing_is_read(tmp_path):
    path = safetensors(tmp_path / "a.safetensors", {"a": entry(0, 0, (0, 3)), "b": entry(0, 8)}, bytes(8))
    assert read_tensors(path)["a"].shape == (0, 3)
    forged = struct.pack("<Q", 2) + b"{}"
    (tmp_path / "b.safetensors").write_bytes(forged)
    refused(tmp_path / "b.safetensors", "holds no tensors")
