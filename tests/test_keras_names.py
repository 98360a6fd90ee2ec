"""``import tf_landslide`` is enough for Keras to load a model of ours, in either order, and costs nothing."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_landslide
from tf_landslide.core.keras_names import HOMES

pytestmark = pytest.mark.slow

LEGACY = Path(__file__).parent / "legacy"


def fresh(code: str, *arguments) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("first", ["import keras, tf_landslide", "import tf_landslide, keras"])
def test_keras_loads_every_class_of_ours_in_a_fresh_process(first, tmp_path):
    code = (
        f"import sys, numpy as np; {first}; model = keras.saving.load_model(sys.argv[1]); "
        "x = np.load(sys.argv[2])['stored']; np.save(sys.argv[3], model(x, training=False)); "
        "print(type(model.optimizer).__module__, type(model.loss).__module__)"
    )
    said = fresh(code, LEGACY / "layers.keras", LEGACY / "answers.npz", tmp_path / "y.npy")
    assert said == "tf_landslide.training.optimizers tf_landslide.training.losses.combined"
    with np.load(LEGACY / "answers.npz") as answers:  # of the first release
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), answers["layers"], atol=1e-6)


def test_a_run_is_loaded_by_keras_alone(run_folder):
    code = "import sys, tf_landslide, keras; print(keras.saving.load_model(sys.argv[1]).input_shape)"
    assert fresh(code, run_folder / "model.keras") == "(None, None, None, 6)"


def test_importing_the_package_imports_neither_keras_nor_tensorflow():
    heavy = "{'keras', 'tensorflow', 'numpy'} & set(sys.modules)"
    assert fresh(f"import sys, tf_landslide; print({heavy})") == "set()"
    code = (
        "import sys, tf_landslide, keras; ours = sorted(n for n in sys.modules if n.startswith('tf_landslide.')); "
        "print(ours, type(keras.__loader__).__name__, [type(f).__name__ for f in sys.meta_path if 'Keras' in repr(f)])"
    )
    assert fresh(code) == "['tf_landslide.core', 'tf_landslide.core.keras_names'] SourceFileLoader []"


def test_keras_that_is_missing_is_missing_as_ever():
    code = (
        "import sys, tf_landslide; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "try: import keras\nexcept ModuleNotFoundError as e: print(e)"
    )
    assert fresh(code) == "No module named 'keras'"


def test_every_registered_class_is_named_with_its_module():
    for module in pkgutil.walk_packages(tf_landslide.__path__, "tf_landslide."):
        if module.name.split(".")[1] in ("bands", "metrics", "models", "training"):
            importlib.import_module(module.name)
    known = keras.saving.get_custom_objects()
    registered = {key.split(">")[1]: known[key].__module__ for key in known if key.startswith("tf_landslide>")}
    assert registered == HOMES
