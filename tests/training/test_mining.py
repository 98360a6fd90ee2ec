"""Hard patches: their errors, and when they are drawn by them."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn.metrics import log_loss

from tests.data.test_foreign_files import hide
from tf_landslide.bands.recipes import channel_recipe
from tf_landslide.data.pipeline import Epochs, as_dataset
from tf_landslide.data.source import PatchSource
from tf_landslide.jobs.train import train
from tf_landslide.metrics import IGNORED
from tf_landslide.runs.config import load_config
from tf_landslide.training.callbacks import DrawEpoch
from tf_landslide.training.mining import PatchErrors


@pytest.fixture(scope="module")
def model():
    """NDVI alone, as a probability; not a number where it is missing."""
    inputs = keras.Input((None, None, 6))
    return keras.Model(inputs, keras.layers.Activation("sigmoid")(-3 * inputs[..., 3:4]))


@pytest.mark.filterwarnings("ignore:.*are left out of every count")
@pytest.mark.parametrize("ignore", [None, 255])
def test_an_error_is_the_mean_cross_entropy_of_the_pixels_that_count(copy, model, ignore):
    if ignore:
        hide(copy, ignore)
    source = PatchSource.open(copy, "train", channel_recipe(), ignore=ignore)
    channels, masks = source.fetch(np.arange(10))
    known = masks != IGNORED
    probability = 1 / (1 + np.exp(3 * channels[..., 3:4].astype(np.float64)))
    expected = [log_loss(y[k], p[k], labels=[0, 1]) for y, p, k in zip(masks, probability, known, strict=True)]
    errors = PatchErrors(model, as_dataset(source, 4))  # the last batch is a short one
    found = errors()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == np.float64 and len(set(found)) == 10
    np.testing.assert_array_equal(errors(), found)


def test_a_patch_without_a_number_or_a_known_pixel_is_not_drawn_more_often(sample, model):
    source = PatchSource.open(sample, "train", channel_recipe())
    channels, masks = source.fetch(np.arange(10))
    channels[2, 5, 5], masks[4] = np.nan, IGNORED
    views = lambda positions: ((channels[i], masks[i]) for i in positions)  # noqa: E731
    found = PatchErrors(model, as_dataset(replace(source, views=views, ignores=True), 4))()
    assert found[2] == found[4] == 0 and (np.delete(found, [2, 4]) > 0).all()


def test_errors_are_asked_for_at_the_begin_of_every_epoch_from_the_first_that_wants_them():
    epochs, asked = Epochs(), iter(([1.0, 2.0], [3.0, 4.0]))
    callback = DrawEpoch(epochs, lambda: np.array(next(asked)), after=2)
    seen = []
    for epoch in range(4):
        callback.on_epoch_begin(epoch)
        seen.append((epochs.next, None if epochs.errors is None else list(epochs.errors)))
    assert seen == [(0, None), (1, None), (2, [1.0, 2.0]), (3, [3.0, 4.0])]


@pytest.mark.long
def test_a_run_draws_as_ever_until_it_mines(config_file, sample, tmp_path):
    """``test_resume`` holds that one which is killed mines the same patches; here that it mines at all."""

    def losses(*settings):
        settings = ["training.deterministic=true", "training.schedule=constant", *settings]
        run = train(load_config(config_file, settings), sample, tmp_path / f"run{len(settings)}")
        return [row["loss"] for row in run.history]

    plain, mined = losses(), losses("data.mining.share=0.8", "data.mining.after_epochs=1")
    assert len(plain) == 2 and mined[0] == plain[0] and mined[1] != plain[1]
