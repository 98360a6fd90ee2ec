"""Messages against TensorFlow's own reading and writing of them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.protos import TensorProto
from serving.tensors import DTYPES, STRING, to_array, to_proto

NUMERIC = [d for d in DTYPES.values() if d.number != STRING]
SHAPES = [(), (0,), (1,), (3, 0, 2), (2, 3, 4), (1, 2, 3, 4, 5), (1000,)]


def sample(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype.numpy == "bool":
        return rng.random(shape) < 0.5
    if dtype.numpy.startswith("complex"):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype.array_dtype)
    if "float" in dtype.numpy:
        return np.asarray(rng.standard_normal(shape)).astype(dtype.array_dtype)
    plain = dtype.array_dtype[0] if dtype.array_dtype.names else dtype.array_dtype
    info = np.iinfo(plain)
    values = rng.integers(info.min, info.max, shape, dtype=plain, endpoint=True)
    return np.asarray(values).view(dtype.array_dtype)


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", NUMERIC, ids=lambda d: d.name)
def test_tensorflow_reads_what_we_write_and_we_read_what_it_writes(dtype, shape, content):
    array = sample(dtype, shape)
    read = tf.make_ndarray(to_proto(array, content=content))
    assert read.dtype == array.dtype and read.shape == array.shape
    np.testing.assert_array_equal(read, array)
    for theirs in (tf.make_tensor_proto(array), _typed(array)):
        ours = to_array(theirs)
        assert ours.dtype == array.dtype
        np.testing.assert_array_equal(ours, array)


def _typed(array):
    """A message with typed values, as TensorFlow's C++ writes it and TensorFlow Serving answers by default."""
    proto = to_proto(array, content=False)
    return tf.make_tensor_proto(array) if not array.size else TensorProto.FromString(proto.SerializeToString())


@pytest.mark.parametrize("values", [[b"a", b"", b"\xff\x00"], [[b"x"], [b"y"]], b"scalar"])
def test_strings(values):
    array = np.array(values, object)
    np.testing.assert_array_equal(tf.make_ndarray(to_proto(array)), array)
    np.testing.assert_array_equal(to_array(tf.make_tensor_proto(values)), array)
    assert to_array(to_proto(np.array(["é"]))).tolist() == ["é".encode()]


@pytest.mark.parametrize(("values", "expected"), [([], 0), ([3.5], 3.5)])
def test_too_few_values_are_filled_up_as_tensorflow_does(values, expected):
    proto = TensorProto(dtype=1, float_val=values)
    proto.tensor_shape.CopyFrom(tf.TensorShape([2, 3]).as_proto())
    np.testing.assert_array_equal(to_array(proto), np.full((2, 3), expected, np.float32))
    theirs = tf.io.parse_tensor(proto.SerializeToString(), tf.float32).numpy()
    np.testing.assert_array_equal(to_array(proto), theirs)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=5, max_side=6), elements=st.floats(width=32)))
def test_any_float_array_comes_back_bit_for_bit(array):
    for content in (True, False):
        assert to_array(to_proto(array, content=content)).tobytes() == array.tobytes()


def message(**fields):
    shape = fields.pop("shape", [2])
    proto = TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    return proto


def test_too_few_strings_are_filled_up_with_all_of_the_last():
    proto = message(dtype=7, shape=[4], string_val=[b"a", b"b\0"])
    expected = tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy()
    assert to_array(proto).tolist() == expected.tolist() == [b"a", b"b\0", b"b\0", b"b\0"]


@pytest.mark.parametrize("content", [b"\x01\x02abb", b"\0\0", b"\x80\x01\0" + b"x" * 128])
def test_strings_packed_as_tensorflow_packs_them(content):
    proto = message(dtype=7, shape=[2], tensor_content=content)
    expected = tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy()
    assert to_array(proto).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("proto", "said"),
    [
        (message(dtype=1, tensor_content=b"1234567"), "7 bytes do not match shape"),
        (message(dtype=1, tensor_content=b"1" * 12), "12 bytes do not match"),
        (message(dtype=0), "dtype 0 is not supported"),
        (message(dtype=20), "dtype 20"),
        (message(dtype=1, shape=[-1]), "not fully known"),
        (message(dtype=1, shape=[2**40, 2**40]), "too large"),
        (message(dtype=1, shape=[2**30], float_val=[1.0]), "not filled up"),
        (message(dtype=7, shape=[2**10], string_val=[b"x" * 2**20]), "not filled up"),
        (message(dtype=7, tensor_content=b"ab"), "does not hold"),
        (message(dtype=7, tensor_content=b"\xff" * 9), "does not hold"),
        (message(dtype=7, shape=[2**40], tensor_content=b"\0" * 9), "does not hold"),
        (TensorProto(dtype=1, tensor_shape={"unknown_rank": True}), "not fully known"),
    ],
)
def test_what_is_no_tensor_is_refused(proto, said):
    with pytest.raises(ValueError, match=said):
        to_array(proto)


def test_what_tensorflow_has_not_cannot_be_sent():
    with pytest.raises(ValueError, match="cannot be sent"):
        to_proto(np.array(["2026-01-01"], "datetime64[D]"))
