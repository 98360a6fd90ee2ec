"""JSON as RapidJSON reads it: values, and its own errors with their offsets (each seen with RapidJSON 1.1)."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.json_errors import debug_text
from serving.json_tensors import from_base64, read_inputs
from serving.protos import SignatureDef
from serving.rapidjson import _Reader, parse
from serving.status import ServingError
from serving.tensors import DTYPES

REFUSED = {
    b"  ": ("The document is empty.", 2),
    b"{": ("Missing a name for object member.", 1),
    b'{"a":1,}': ("Missing a name for object member.", 7),
    b'{"a" 1}': ("Missing a colon after a name of object member.", 5),
    b'{"a":1 "b"': ("Missing a comma or } after an object member.", 7),
    b'{"a":01}': ("Missing a comma or } after an object member.", 6),
    b"[1 2]": ("Missing a comma or ] after an array element.", 3),
    b"[" * 20_000: ("Invalid value.", 20_000),
    b"[1,]": ("Invalid value.", 3),
    b'{"k":}': ("Invalid value.", 5),
    b"[nul]": ("Invalid value.", 4),
    b"[Infin]": ("Invalid value.", 6),
    b"[-]": ("Invalid value.", 2),
    b"@": ("Invalid value.", 0),
    b"[1.]": ("Miss fraction part in number.", 3),
    b"[1e]": ("Miss exponent in number.", 3),
    b"11e": ("Miss exponent in number.", 3),
    b"[1, 1e309]": ("Number too big to be stored in double.", 4),
    b"[" + b"9" * 400 + b"]": ("Number too big to be stored in double.", 1),
    b'["\\x"]': ("Invalid escape character in string.", 2),
    b'["\\u12g4"]': ("Incorrect hex digit after \\u escape in string.", 2),
    b'["a\nb"]': ("Invalid encoding in string.", 3),
    b'["abc': ("Missing a closing quotation mark in string.", 5),
    b'["\xc3\xa9\\ud800"]': ("The surrogate pair in string is invalid.", 4),
    b'["\\ud800\\u0041"]': ("The surrogate pair in string is invalid.", 2),
}


@pytest.mark.parametrize("body", REFUSED, ids=lambda body: repr(body[:20]))
def test_what_is_wrong_and_where(body):
    said, offset = REFUSED[body]
    with pytest.raises(ServingError) as caught:
        parse(body)
    assert caught.value.message == f"JSON Parse error: {said} at offset: {offset}"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":1} and more', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 1}),
        (b"\xef\xbb\xbf[1]", [1]),
        (b'["\xff\xfe"]', ["\udcff\udcfe"]),
        (b'["\\ud83d\\ude00"]', ["😀"]),
        (b"[Inf, -Inf, Infinity, -Infinity, 2e308]", [math.inf, -math.inf, math.inf, -math.inf, math.inf]),
        (b"[0.0001e311]", [1e307]),
        (b"[1e" + b"0" * 5000 + b"2, 1e-" + b"9" * 5000 + b"]", [100.0, 0.0]),
        (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
        (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'),
    ],
)
def test_what_passes(body, value):
    assert parse(body) == value


def test_no_depth_is_too_deep():
    value, depth = parse(b"[" * 20_000 + b"]" * 20_000), 0
    while value:
        (value,) = value
        depth += 1
    assert depth == 19_999


MANY = 300_000


UNCLOSED = b'[Inf,"' + b'\\"' * MANY  # each of whose quotes could begin a string that goes to the end


@pytest.mark.parametrize(
    "body", [UNCLOSED, b"[" * MANY, b"[" + b"1," * MANY, b'["\\ud800\\udc00",' + b"1," * MANY + b"1]"]
)
def test_the_exact_reader_gives_up_before_it_costs_minutes(body):
    with pytest.raises(
        ServingError, match="More than 262,144 values and escapes, which are read from plain JSON without errors only"
    ):
        parse(body)


def test_long_numbers_are_looked_through_once():
    """Each digit of a run as the beginning of another one would be 300 times the work."""
    body = b"[" + b",".join([b"1" * 299] * 40_000) + b"]"
    began = time.process_time()
    found = parse(body)
    assert time.process_time() - began < 1.5
    assert found == [int("1" * 299)] * 40_000
    with pytest.raises(ServingError, match="Number too big to be stored in double"):
        parse(b"[1, " + b"1" * 310 + b"]")


def test_as_many_infinities_as_one_likes():
    assert parse(b"[" + b"Inf," * MANY + b"-Inf]") == [math.inf] * MANY + [-math.inf]


def test_infinities_within_strings_are_letters():
    assert parse(b'{"Inf": ["-NaN Inf", "\\"Inf\\\\", Inf, Infinity]}') == {
        "Inf": ["-NaN Inf", '"Inf\\', math.inf, math.inf]
    }


def test_no_numbers():
    assert all(math.isnan(value) for value in parse(b"[NaN, -NaN]"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(JSON)
def test_the_exact_reader_reads_what_python_writes(value):
    for ascii_only in (False, True):
        assert _Reader(json.dumps(value, ensure_ascii=ascii_only), 0).document() == value


def test_values_in_errors():
    assert debug_text({"a": [1, {"b": 1e30}], "c": {}}) == (
        '{\n    "a": [1, {\n            "b": 1e30\n        }],\n    "c": {}\n}'
    )
    assert len(debug_text(list(range(10**4)))) < 300
    assert debug_text(parse(b"[" * 10**4 + b"]" * 10**4)).startswith("[[[[")


@pytest.mark.parametrize(
    ("text", "value"),
    [("YQ==", b"a"), ("YQ", b"a"), (" Y Q\n", b"a"), ("", b""), ("YWJj", b"abc"), ("YWI=", b"ab"), ("YWI", b"ab")],
)
def test_base64_padded_or_not(text, value):
    assert from_base64(text) == value


@pytest.mark.parametrize("text", ["Y", "YQ=", "YQ===", "Y=Q=", "Y-_=", "?"])
def test_what_is_no_base64(text):
    with pytest.raises(ServingError, match="Unable to base64 decode"):
        from_base64(text)


def signature(*names: str, dtype="float") -> SignatureDef:
    number = next(d.number for d in DTYPES.values() if d.name == dtype)
    made = SignatureDef()
    for name in names:
        made.inputs[name].dtype = number
    return made


X, AB = signature("x"), signature("a", "b")
ELEMENT = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.mark.parametrize(
    ("document", "known", "said"),
    [
        ({"instances": [1, "a"]}, X, ELEMENT.format(1) + 'JSON Value: "a" Type: String is not of expected type: float'),
        ({"instances": [[1], [2, 3]]}, X, ELEMENT.format(1) + "Expecting tensor size: 1 but got: 2"),
        ({"instances": [[[1, 2]], [[1], [2]]]}, X, ELEMENT.format(1) + "Expecting shape [1,2] but got: [2,1]"),
        (
            {"instances": [[[1, 2], 3]]},
            X,
            ELEMENT.format(0) + "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            {"instances": [{"a": 1, "b": None}]},
            AB,
            "Failed to process element: 0 key: b of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON Value: null Type: Null is not of expected type: float",
        ),
        (
            {"instances": [{"a": 1, "c": 1}]},
            AB,
            "Failed to process element: 0 key: c of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: c",
        ),
        (
            {"instances": [{"a": 1}]},
            AB,
            "Failed to process element: 0 of 'instances' list. "
            'JSON object: {\n    "a": 1\n} keys must be equal to: a,b',
        ),
        ({"instances": [{"a": 1, "b": 1}, 3]}, AB, "Expecting object but got list at item 1 of input list"),
        ({"instances": [3, {"x": 1}]}, X, "Expecting value/list but got object at item 1 of input list"),
        ({"inputs": [[1, 2], [3]]}, X, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ({"inputs": [1, [2]]}, X, "Encountered list at unexpected level: 1 expected < 1"),
        ({"inputs": [True]}, X, "JSON Value: true Type: True is not of expected type: float"),
        ({"inputs": {"b64": "YQ"}}, X, 'JSON Value: {\n    "b64": "YQ"\n} Type: Object is not of expected type: float'),
        ({"inputs": [2**31]}, signature("x", dtype="int32"), "Type: Number is not of expected type: int32"),
        ({"inputs": [-1]}, signature("x", dtype="uint64"), "Type: Number is not of expected type: uint64"),
        ({"inputs": [1]}, signature("x", dtype="half"), "Conversion of JSON Value: 1 to type: half"),
        ({"inputs": [{"c": 1}]}, signature("x", dtype="string"), "not formatted correctly for base64 data"),
        ({"instances": 3}, X, "Expecting 'instances' to be an list/array"),
        ({"instances": [], "signature_name": "s"}, X, "No values in 'instances' array"),
    ],
)
def test_what_is_no_input(document, known, said):
    with pytest.raises(ServingError) as caught:
        read_inputs(document, known)
    assert said in caught.value.message


def test_small_integers_wrap_around_as_tensorflow_s_do():
    import tensorflow as tf

    proto = tf.make_tensor_proto([0], tf.int8)
    proto.ClearField("tensor_content")
    proto.int_val[:] = [300]
    expected = tf.io.parse_tensor(proto.SerializeToString(), tf.int8).numpy()
    found, _ = read_inputs({"inputs": [300]}, signature("x", dtype="int8"))
    np.testing.assert_array_equal(found["x"], expected)


def test_too_many_dimensions():
    value: list = [1]
    for _ in range(300):
        value = [value]
    with pytest.raises(ServingError, match="tensor parsing error"):
        read_inputs({"inputs": value}, X)
