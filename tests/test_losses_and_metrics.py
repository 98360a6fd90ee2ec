import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, log_loss, precision_score, recall_score

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import BestF1, landslide_metrics
from tf_landslide.metrics.counts import Histograms
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


@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_the_whole_cross_entropy_may_weigh_more_than_dice(batch, alpha):
    """The weight of the paper's code, which multiplies both classes alike."""
    truth, probability = batch
    cross_entropy = log_loss(truth.ravel(), probability.ravel().astype(np.float64))
    loss = get_loss("bce_dice", alpha=alpha, cross_entropy_weight=5.0)
    expected = (1 - alpha) * 5 * cross_entropy + alpha * dice(truth, probability)
    assert value(loss, truth, probability) == pytest.approx(expected, rel=1e-5)
    assert BCEDice.from_config(loss.get_config()).cross_entropy_weight == 5
    with pytest.raises(LandslideError, match="cross_entropy_weight must be above 0"):
        BCEDice(cross_entropy_weight=0)


def test_losses_by_name(batch):
    truth, probability = batch
    assert value(get_loss("dice"), truth, probability) == pytest.approx(dice(truth, probability), rel=1e-5)
    expected = value(keras.losses.BinaryCrossentropy(), truth, probability)
    assert value(get_loss("bce"), truth, probability) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(LandslideError, match="did you mean 'dice'"):
        get_loss("dise")


def weighted(loss, truth, probability, weight):
    return float(keras.ops.convert_to_numpy(loss(truth, probability, weight)))


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 8, 1)])
def test_pixel_weights_act_as_in_keras_s_cross_entropy(batch, shape):
    truth, probability = batch
    weight = np.random.default_rng(1).uniform(0, 3, shape).astype(np.float32)
    expected = weighted(keras.losses.BinaryCrossentropy(), truth, probability, weight.reshape(3, 8, 8))
    assert weighted(get_loss("bce"), truth, probability, weight) == pytest.approx(expected, rel=1e-5)


def test_sample_weights_act_as_in_keras_s_losses(batch):
    """Keras weighs a Dice of each sample alone; a batch of one sample is where the two are the same number."""
    truth, probability = batch
    weight = np.array([0.0, 2.0, 0.5], np.float32)
    per_pixel = np.broadcast_to(weight[:, None, None], truth.shape[:3])
    expected = weighted(keras.losses.BinaryCrossentropy(), truth, probability, per_pixel)
    assert weighted(get_loss("bce"), truth, probability, weight) == pytest.approx(expected, rel=1e-5)
    one, theirs = slice(1, 2), keras.losses.Dice(axis=(1, 2, 3))
    expected = weighted(theirs, truth[one], probability[one], weight[one])
    assert weighted(get_loss("dice"), truth[one], probability[one], weight[one]) == pytest.approx(expected, rel=1e-5)
    uniform = np.full(3, 0.7, np.float32)
    expected = 0.7 * float(keras.losses.Dice()(truth, probability))
    assert weighted(get_loss("dice"), truth, probability, uniform) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [get_loss("bce"), get_loss("dice"), BCEDice(0.3, 4.0)], ids=lambda loss: loss.name)
def test_a_pixel_of_weight_zero_is_as_if_it_were_not_there(batch, loss):
    """Its errors cost nothing, and the others' numbers are those of a batch without it."""
    truth, probability = batch
    keep = np.random.default_rng(2).random(truth.shape[:3]) < 0.6
    wrong = np.where(keep[..., None], probability, 1 - truth)  # only errors where nothing counts
    left = truth[keep][None, None], probability[keep][None, None]
    expected = keep.mean() * value(loss, *left)  # Keras divides by all pixels
    assert weighted(loss, truth, wrong, keep.astype(np.float32)) == pytest.approx(expected, rel=1e-4)


def test_weights_reach_training(batch):
    """Rows of weight 0 hold the only errors: there is next to nothing to learn, for Keras's loss and for ours."""
    truth, _ = batch
    x = np.where(truth > 0, 8, -8).astype(np.float32)
    x[1] *= -1
    weight = np.array([1, 0, 1], np.float32)
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Activation("sigmoid")(keras.layers.Conv2D(1, 1)(inputs)))
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    for name in ("bce", "dice", "bce_dice"):
        model.compile(loss=get_loss(name), jit_compile=False)
        assert model.evaluate(x, truth, sample_weight=weight, verbose=0) < 0.01
        assert model.evaluate(x, truth, verbose=0) > 0.2


@pytest.mark.parametrize("reduction", ["sum", "none", "sum_over_batch_size"])
def test_reductions_are_those_of_keras(batch, reduction):
    truth, probability = batch
    expected = keras.losses.BinaryCrossentropy(reduction=reduction)(truth, probability)
    found = BCEDice(0.0, reduction=reduction)(truth, probability)
    assert found.shape == ((3, 8, 8, 1) if reduction == "none" else ())
    np.testing.assert_allclose(np.squeeze(found), expected, rtol=1e-5)


def test_masks_without_a_last_axis_are_taken_and_other_shapes_refused(batch):
    truth, probability = batch
    flat, metric = truth[..., 0], landslide_metrics(0.3)[0]
    for y, p in ((flat, probability), (truth, probability[..., 0]), (flat, probability[..., 0]), (truth, probability)):
        assert value(BCEDice(0.3, 2.0), y, p) == pytest.approx(value(BCEDice(0.3, 2.0), truth, probability), rel=1e-6)
        for metric in (*landslide_metrics(0.3), BestF1()):
            metric.update_state(y, p)
            found = float(metric.result())
            metric.reset_state()
            metric.update_state(truth, probability)
            assert found == float(metric.result()) <= 1
    square, other = np.ones((8, 8, 8), np.float32), np.ones((8, 8, 4, 1), np.float32)
    for wrong in (square, truth[:1], truth[0], np.float32(1), np.repeat(truth, 2, axis=-1)):
        for take in (landslide_metrics()[0].update_state, BestF1().update_state, BCEDice()):
            with pytest.raises(LandslideError, match="they must be equal"):
                take(wrong, probability if wrong is not square else other)
    with pytest.raises(LandslideError, match="do not fit"):
        BCEDice()(truth, probability, np.ones(4, np.float32))
    with pytest.raises(LandslideError, match="do not fit"):
        landslide_metrics()[0].update_state(truth, probability, np.ones((3, 8), np.float32).T)
    with pytest.raises(LandslideError, match="they must be equal"):
        Histograms.of([(probability[0], flat[0])])


def test_best_f1_is_that_of_the_best_threshold():
    rng = np.random.default_rng(3)
    truth = rng.random((12, 9, 9, 1)) < 0.1
    probability = np.clip(rng.normal(0.1 + 0.08 * truth, 0.05), 0, 1).astype(np.float32)  # nothing reaches 0.5
    weight = rng.random(12).astype(np.float32)
    plain, heavy = BestF1(), BestF1()
    for y, p, w in zip(np.split(truth, 4), np.split(probability, 4), np.split(weight, 4), strict=True):
        plain.update_state(y.astype(np.float32), p)
        heavy.update_state(y.astype(np.float32), p, w)
    for metric, pixel_weight in ((plain, None), (heavy, np.repeat(weight, 81))):
        marked = [probability.ravel() >= np.float32(k / 200) for k in range(201)]
        scores = [f1_score(truth.ravel(), m, sample_weight=pixel_weight, zero_division=0) for m in marked]
        assert float(metric.result()) == pytest.approx(max(scores), rel=1e-5)
    assert max(scores) > 0.3 and f1_score(truth.ravel(), probability.ravel() >= 0.5, zero_division=0) == 0
    assert BestF1.from_config(plain.get_config()).bins == 200
    plain.reset_state()
    assert float(plain.result()) == 0


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
