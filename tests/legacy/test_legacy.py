"""What the first release saved still loads, and gives the same numbers.

``run`` and ``models`` are a training run of the first release on a small sample landscape and its export;
``layers.keras`` is a model with every layer, loss, metric and optimiser that it registered with Keras; ``answers.npz``
is what they gave.
"""

from pathlib import Path

import keras
import numpy as np
import pytest

from tf_landslide.cli.main import main
from tf_landslide.predict.backends.keras import load_keras_model
from tf_landslide.predict.load import load_card, load_predictor
from tf_landslide.runs.folder import Run
from tf_landslide.training.losses import BCEDice
from tf_landslide.training.optimizers import FusedAdam

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def answers():
    with np.load(HERE / "answers.npz") as file:
        return dict(file)


@pytest.mark.parametrize(
    ("model", "runtime", "tolerance"),
    [("run", "auto", 1e-6), ("models/legacy", "tensorflow", 1e-6), ("models/legacy/1", "openvino", 1e-4)],
)
def test_models_give_the_same_numbers(model, runtime, tolerance, answers):
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is optional: pip install openvino")
    predictor = load_predictor(HERE / model, runtime=runtime)
    np.testing.assert_allclose(predictor(answers["channels"]), answers["probability"], atol=tolerance)


def test_every_layer_gives_the_same_numbers(answers):
    model = load_keras_model(HERE / "layers.keras")
    np.testing.assert_allclose(model(answers["stored"], training=False), answers["layers"], atol=1e-6)


def test_training_goes_on_with_the_same_loss_metrics_and_optimiser(answers):
    model = keras.saving.load_model(HERE / "layers.keras", safe_mode=True)
    assert isinstance(model.optimizer, FusedAdam) and isinstance(model.loss, BCEDice)
    assert int(model.optimizer.iterations) == 2
    truth = (answers["layers"] > 0.5).astype(np.float32)
    scores = model.evaluate(answers["stored"], truth, verbose=0, return_dict=True)
    assert {"f1", "precision", "recall", "iou"} <= scores.keys()


def test_cards_and_run_folders_say_the_same():
    run, exported = Run.open(HERE / "run"), HERE / "models/legacy"
    assert run.threshold == load_card(exported).threshold == 0.49
    assert run.card().as_dict()["scores"] == load_card(exported).as_dict()["scores"] == run.metrics()
    assert load_card(exported).as_json() == (exported / "1/assets.extra/model_card.json").read_text().strip()
    assert load_card(exported).markdown() == (exported / "1/assets.extra/model_card.md").read_text()
    assert len(run.history) == 2


def test_a_run_is_judged_and_exported_anew(sample, tmp_path):
    assert main(["evaluate", str(HERE / "run"), "--data", str(sample), "--out", str(tmp_path / "report")]) == 0
    assert main(["export", str(HERE / "run"), "--to", str(tmp_path / "models")]) == 0
    assert (tmp_path / "models/legacy/1/saved_model.pb").is_file()
