"""The paper's models at full size through the embedded server (``make test-models``)."""

import numpy as np
import pytest

from serving.client import connect
from tests.serving.conftest import running
from tf_landslide.card import ModelCard
from tf_landslide.catalogue import PAPER_MODELS
from tf_landslide.export import save_model
from tf_landslide.features import RECIPES
from tf_landslide.models import build_model
from tf_landslide.predictor import predictor_of

pytestmark = pytest.mark.full


@pytest.mark.parametrize("name", PAPER_MODELS)
def test_the_server_answers_as_the_model_does_by_both_signatures(name, tmp_path):
    architecture, encoder, options = PAPER_MODELS[name]
    rng = np.random.default_rng(0)
    stored = rng.uniform(0.2, 2, (2, 64, 96, 14)).astype(np.float32)
    card = ModelCard(name, architecture, encoder, "landslide4sense", RECIPES["six"], 0.5)
    channels = np.asarray(card.features()(stored))
    model = build_model(architecture, encoder, channels=6, adapt_to=[channels], **options)
    expected = predictor_of(model, card)(channels)
    save_model(model, card, tmp_path / name / "1")
    with running(tmp_path) as server:
        remote = connect(f"grpc://localhost:{server.port}/{name}")
        np.testing.assert_allclose(remote(channels), expected, atol=1e-5)
        by_bands = remote.client.predict({"bands": stored}, "from_bands")["probability"]
        np.testing.assert_allclose(by_bands, expected, atol=1e-5)
