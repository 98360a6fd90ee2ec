"""The README's script and the docs' table of keys are true."""

import re
import runpy
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.conftest import ROOT
from tf_landslide.runs.config_table import config_table


@pytest.mark.slow
def test_the_readmes_script_runs(sample, tmp_path, monkeypatch):
    script = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    assert "model.compile" in script and "model.fit" in script and len(script.splitlines()) <= 18
    (tmp_path / "sample").symlink_to(sample)
    (tmp_path / "script.py").write_text(script)
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path("script.py")
    assert np.isfinite(names["model"].evaluate(names["valid"], verbose=0)).all()
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert model.input_shape == (None, None, None, 6)


def test_the_docs_list_every_key_of_the_config():
    assert config_table() in (ROOT / "docs" / "training.md").read_text()


@pytest.mark.slow
def test_a_runs_model_loads_in_a_fresh_process_as_the_docs_say(run_folder):
    script = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL).group(1)
    script = script.replace("RUN", str(run_folder)) + "print(model.input_shape, model.optimizer is not None)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(None, None, None, 6) True"
