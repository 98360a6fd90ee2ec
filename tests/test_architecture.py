"""The plan of the house, as far as import-linter does not hold it: see docs/architecture.md."""

import ast
import importlib.util
from pathlib import Path

import pytest

from tests.conftest import ROOT

MODULES = sorted(
    path
    for folder in ("tf_landslide", "serving")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__main__.py"
)
LONGEST_MODULE, LONGEST_FUNCTION = 300, 60
# What is longer, and why a reader would not want it cut.
LONGER_MODULES: dict[str, str] = {}
LONGER_FUNCTIONS = {
    "tf_landslide/models/encoders/inception_v4.py:inception_v4": "the network, block by block, as its paper draws it",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_an_import_inside_a_function_gives_its_reason(path):
    """On its line, or on the line of the import above it: TensorFlow's weight, or a package that is optional."""
    lines = path.read_text().splitlines()
    tree = ast.parse(path.read_text())
    inside = {
        node.lineno
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    for number in sorted(inside):
        first = number
        while first - 1 in inside:
            first -= 1
        assert "#" in lines[number - 1] or "#" in lines[first - 1], f"{path}:{number}: {lines[number - 1].strip()}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_short(path):
    text = path.read_text()
    if name_of(path) not in LONGER_MODULES:
        assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and f"{name_of(path)}:{node.name}" not in LONGER_FUNCTIONS:
            start = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.lineno
            assert node.end_lineno - start <= LONGEST_FUNCTION, f"{path}:{node.lineno}: {node.name}"


def test_private_names_of_keras_stand_in_one_module():
    private = ("_keras_history", "_run_through_graph", "_momentums", "_velocities", "_get_variable_index", "keras.src")
    for path in MODULES:
        if path.name != "_keras_compat.py":
            assert not [name for name in private if name in path.read_text()], path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_text_is_written_and_read_in_utf_8_whatever_the_locale(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        of_path = isinstance(node.func, ast.Attribute)  # path.open(mode), or open(path, mode); rasterio has its own
        modes = [arg.value for arg in node.args[not of_path :][:1] if isinstance(arg, ast.Constant)]
        is_text = name == "open" and modes in (["r"], ["w"], ["a"], ["x"])
        is_text |= name in ("read_text", "write_text") and of_path
        assert not is_text or "encoding" in [word.arg for word in node.keywords], f"{name_of(path)}:{node.lineno}"


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_what_a_benchmark_imports_of_ours_exists(script):
    """Benchmarks import inside functions, and no other test runs them."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom):
            wanted = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            wanted = [(alias.name, None) for alias in node.names]
        else:
            continue
        for module, name in wanted:
            if module.split(".")[0] in ("tf_landslide", "serving"):
                found = importlib.import_module(module)
                assert name is None or hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), module
