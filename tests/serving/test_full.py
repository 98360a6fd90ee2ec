"""The paper's models at full size through the embedded server (``make test-models``)."""

import numpy as np
import pytest

from tests.serving.conftest import running
from tf_landslide.bands.recipes import RECIPES
from tf_landslide.jobs.catalogue import build_paper_model, paper_models
from tf_landslide.predict.backends.keras import KerasBackend
from tf_landslide.predict.backends.server import connect
from tf_landslide.predict.export import save_model
from tf_landslide.predict.predictor import Predictor
from tf_landslide.runs.card import ModelCard

pytestmark = pytest.mark.full


@pytest.mark.parametrize("name", paper_models())
def test_the_server_answers_as_the_model_does_by_both_signatures(name, tmp_path):
    rng = np.random.default_rng(0)
    stored = rng.uniform(0.2, 2, (2, 64, 96, 14)).astype(np.float32)
    card = ModelCard(name, "unet", None, "landslide4sense", RECIPES["six"], 0.5)
    channels = np.asarray(card.channel_recipe(stored))
    model = build_paper_model(name, adapt_to=[channels])
    expected = Predictor(card, KerasBackend(model))(channels)
    save_model(model, card, tmp_path / name / "1")
    with running(tmp_path) as server:
        remote = connect(f"grpc://localhost:{server.port}/{name}")
        np.testing.assert_allclose(remote(channels), expected, atol=1e-5)
        by_bands = remote.backend.client.predict({"bands": stored}, "from_bands")["probability"]
        np.testing.assert_allclose(by_bands, expected, atol=1e-5)
