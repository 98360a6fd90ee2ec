import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, log_loss, precision_score, recall_score

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import landslide_metrics
from tf_landslide.training.losses import BCEDice, get_loss


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    truth = (rng.random((3, 8, 8, 1)) < 0.2).astype(np.float32)
    probability = rng.uniform(0.02, 0.98, truth.shape).astype(np.float32)
    return truth, probability


def value(loss, truth, probability):
    return float(keras.ops.convert_to_numpy(loss(truth, probability)))


def dice(truth, probability):
    return 1 - 2 * (truth * probability).sum() / (truth.sum() + probability.sum())


@pytest.mark.parametrize("positive_weight", [1.0, 7.5])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_bce_dice_is_its_formula(batch, alpha, positive_weight):
    truth, probability = batch
    weights = np.where(truth.ravel() > 0, positive_weight, 1.0)
    cross_entropy = log_loss(truth.ravel(), probability.ravel().astype(np.float64), sample_weight=weights)
    expected = (1 - alpha) * cross_entropy + alpha * dice(truth, probability)
    assert value(BCEDice(alpha, positive_weight), truth, probability) == pytest.approx(expected, rel=1e-5)


def test_losses_by_name(batch):
    truth, probability = batch
    assert value(get_loss("dice"), truth, probability) == pytest.approx(dice(truth, probability), rel=1e-5)
    expected = value(keras.losses.BinaryCrossentropy(), truth, probability)
    assert value(get_loss("bce"), truth, probability) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(LandslideError, match="did you mean 'dice'"):
        get_loss("dise")


def test_loss_survives_certainty_and_empty_masks():
    zeros, ones = np.zeros((1, 4, 4, 1), np.float32), np.ones((1, 4, 4, 1), np.float32)
    for truth, probability in ((zeros, zeros), (zeros, ones), (ones, zeros), (ones, ones)):
        assert np.isfinite(value(BCEDice(0.5, 3.0), truth, probability))


def test_loss_round_trips():
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(BCEDice(0.3, 4.0)))
    assert (loss.alpha, loss.positive_weight) == (0.3, 4.0)


@pytest.mark.parametrize(("alpha", "weight"), [(-0.1, 1), (1.1, 1), (0.5, 0)])
def test_senseless_losses_are_refused(alpha, weight):
    with pytest.raises(LandslideError):
        BCEDice(alpha, weight)


def test_metrics_are_of_the_whole_dataset_not_the_mean_of_batches():
    rng = np.random.default_rng(1)
    truth = rng.random((40, 50)) < np.linspace(0, 0.6, 40)[:, None]  # batches of very different balance
    probability = rng.random((40, 50)).astype(np.float32)
    metrics = landslide_metrics(0.3)
    for y, p in zip(np.split(truth, 10), np.split(probability, 10), strict=True):
        for metric in metrics:
            metric.update_state(y[..., None].astype(np.float32), p[..., None])
    y, p = truth.ravel(), probability.ravel() >= 0.3
    expected = [f1_score(y, p), precision_score(y, p), recall_score(y, p), jaccard_score(y, p)]
    np.testing.assert_allclose([float(m.result()) for m in metrics], expected, rtol=1e-6)
    assert [m.name for m in metrics] == ["f1", "precision", "recall", "iou"]
    weighted = landslide_metrics(0.3)[0]
    weights = rng.random(truth.shape[0])
    weighted.update_state(truth[..., None, None], probability[..., None, None], sample_weight=weights)
    pixel_weights = np.repeat(weights, truth.shape[1])
    assert float(weighted.result()) == pytest.approx(f1_score(y, p, sample_weight=pixel_weights), rel=1e-5)
    for metric in metrics:
        metric.reset_state()
        assert float(metric.result()) == 0
        assert type(metric).from_config(metric.get_config()).threshold == 0.3
