"""YAML that people write: plain data, bounded, each key once; every refusal is one line that names its origin."""

import time

import pytest
import yaml

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.safe_yaml import DEEPEST, parse_yaml, read_yaml


def bomb(levels=9, each=9):
    """Each level holds the one before it nine times: 500 characters that stand for 9 ** 9 values."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * each)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "name: x\nlist: [1, -2, 3.5, .5, 1.5e+3, true, null, 'a', \"b\"]\nnested: {a: {b: [c]}}",
        "base: &base {x: 1}\nother: {<<: *base, y: 2}\nagain: *base",
        "when: 2024-02-29\nhex: 0x1F",
        "text: |\n  two\n  lines\n",
        "- a\n- [b]\n",
    ],
)
def test_sound_texts_read_as_pyyaml_reads_them(text):
    assert parse_yaml(text, "f") == yaml.safe_load(text)


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("-2E+4", -2e4), ("1e30", 1e30), ("1e3x", "1e3x")])
def test_exponents_are_numbers_as_in_yaml_1_2(text, value):
    assert parse_yaml(text, "f") == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: gives 'a' twice"),
        ("t: {e: 1, e: 1}", "gives 'e' twice"),
        (bomb(), "holds more than 10,000 values"),
        ("a: &x [1, *x]", "holds itself"),
        ("a: &x {b: {c: *x}}", "holds itself"),
        ("[" * 3000, f"nested more than {DEEPEST} deep"),
        ("{a: " * 3000, f"nested more than {DEEPEST} deep"),
        ("when: 2024-02-30", "day is out of range"),
        ("n: " + "9" * 5000, "an integer of 5,000 digits"),
        ("n: 0x" + "f" * 5000, "digits"),
        ("a: !!bool perhaps", "holds a value that is none"),
        ("a: !!timestamp soon", "holds a value that is none"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: \x00", "is not valid YAML"),
        ("a: [", "line 1"),
        ("? [a]\n: b", "unhashable"),
        ("#" * 1_000_001, "holds more than 1,000,000 characters"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_not_is_refused_in_one_line_and_at_once(text, said):
    started = time.monotonic()
    with pytest.raises(LandslideError) as error:
        parse_yaml(text, "here.yaml")
    assert time.monotonic() - started < 2
    message = str(error.value)
    assert message.startswith("here.yaml: is not valid YAML") and said in message
    assert "\n" not in message and len(message) < 300


def test_files_are_named(tmp_path):
    path = tmp_path / "c.yaml"
    with pytest.raises(LandslideError, match=f"{path}: no such config"):
        read_yaml(path, "config")
    path.write_bytes(b"a: \xff")
    with pytest.raises(LandslideError, match=f"{path}: cannot be read"):
        read_yaml(path)
    path.write_bytes(b"a" * 1_000_001)
    with pytest.raises(LandslideError, match=f"{path}: .*more than 1,000,000"):
        read_yaml(path)
