"""Every loss against its formula in NumPy, in float64, at the edges, weighted, and its gradient by differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import maximum_filter
from sklearn.metrics import log_loss

from tf_landslide.core.errors import LandslideError
from tf_landslide.training.losses import LOSSES, BCEDice, Focal, Lovasz, Tversky, WeightedSum, get_loss

TERMS = [{"name": "focal", "weight": 0.7, "gamma": 2.0}, {"name": "lovasz", "weight": 0.3}, {"name": "tversky"}]


def bce(truth, p, w, positive_weight=1.0):
    weight = w * np.where(truth > 0, positive_weight, 1.0)
    return log_loss(truth.ravel(), p.ravel(), sample_weight=weight.ravel())


def dice(truth, p, w):
    return 1 - 2 * (w * truth * p).sum() / (w * (truth + p)).sum()


def tversky(truth, p, w, alpha=0.3, beta=0.7, gamma=1.0):
    hit, invented, missed = (w * truth * p).sum(), (w * (1 - truth) * p).sum(), (w * truth * (1 - p)).sum()
    return (1 - hit / (hit + alpha * invented + beta * missed)) ** gamma


def soft_iou(truth, p, w):
    return 1 - (w * truth * p).sum() / (w * (truth + p - truth * p)).sum()


def focal(truth, p, w, gamma=2.0, alpha=0.25):
    p_t = np.where(truth > 0, p, 1 - p)
    share = 1.0 if alpha is None else np.where(truth > 0, alpha, 1 - alpha)
    return np.average(-share * (1 - p_t) ** gamma * np.log(p_t), weights=w)


def jaccard(wrong, truth, w):
    """Equation 6 of Berman et al.: of a set of wrong pixels, each of which measures its weight."""
    union = w[truth | wrong].sum()
    return w[wrong].sum() / union if union else 0.0


def lovasz(truth, p, w):
    """Definition 2, set by set: the errors, from the largest, times what the loss rises by when each pixel joins."""
    truth, p, w = truth.ravel() > 0, p.ravel(), w.ravel()
    error, wrong, before, total = np.abs(truth - p), np.zeros(truth.size, bool), 0.0, 0.0
    for pixel in np.argsort(-error, kind="stable"):
        wrong[pixel] = True
        now = jaccard(wrong, truth, w)
        total, before = total + error[pixel] * (now - before), now
    return total


def boundary(truth, p, w, size=3, tolerance=5):
    """By SciPy's filters; land beyond the edge and pixels of weight 0 are no neighbours."""
    known = w > 0

    def pooled(x, side):
        return np.stack([maximum_filter(patch, side, mode="constant", cval=-np.inf) for patch in x[..., 0]])[..., None]

    def outline(area):
        return np.where(known, pooled(np.where(known, 1 - area, 0), size) - (1 - area), 0)

    true, found = outline(truth), outline(p)
    precision = (w * found * pooled(true, tolerance)).sum() / (w * found).sum()
    recall = (w * true * pooled(found, tolerance)).sum() / (w * true).sum()
    return 1 - 2 * precision * recall / (precision + recall)


CASES = {
    "bce": (get_loss("bce"), bce),
    "weighted_bce": (get_loss("bce", positive_weight=7.5), lambda *a: bce(*a, 7.5)),
    "dice": (get_loss("dice"), dice),
    "bce_dice": (
        BCEDice(0.3, 2.0, 5.0),
        lambda *a: 0.7 * 5 * bce(*a, 2.0) + 0.3 * dice(*a),
    ),
    "tversky": (get_loss("tversky"), tversky),
    "focal_tversky": (Tversky(0.2, 0.9, 0.75), lambda *a: tversky(*a, 0.2, 0.9, 0.75)),
    "focal": (get_loss("focal"), focal),
    "focal_unbalanced": (Focal(0.5, None), lambda *a: focal(*a, 0.5, None)),
    "soft_iou": (get_loss("soft_iou"), soft_iou),
    "lovasz": (get_loss("lovasz"), lovasz),
    "boundary": (get_loss("boundary"), boundary),
    "wide_boundary": (get_loss("boundary", size=5, tolerance=1), lambda *a: boundary(*a, 5, 1)),
    "sum": (get_loss("sum", terms=TERMS), lambda *a: 0.7 * focal(*a) + 0.3 * lovasz(*a) + tversky(*a)),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def batch():
    """Areas rather than scattered pixels, and probabilities that know something of them."""
    rng = np.random.default_rng(0)
    truth = np.zeros((3, 12, 12, 1), np.float32)
    truth[0, 2:7, 3:9], truth[1, 8:, :4] = 1, 1  # none in the third
    return truth, np.clip(0.6 * truth + rng.uniform(0.02, 0.38, truth.shape), 0, 1).astype(np.float32)


def value(loss, *arrays):
    return float(keras.ops.convert_to_numpy(loss(*arrays)))


def gradient(loss, truth, probability, weight=None):
    p = tf.convert_to_tensor(probability)
    with tf.GradientTape() as tape:
        tape.watch(p)
        found = loss(truth, p, weight)
    return found.numpy(), tf.convert_to_tensor(tape.gradient(found, p)).numpy()


def test_every_loss_is_tested():
    assert {type(loss) for loss, _ in CASES.values()} == set(LOSSES.values())


def test_a_loss_is_its_formula(case, batch):
    loss, formula = case
    truth, p = batch
    expected = formula(truth, p.astype(np.float64), np.ones(truth.shape))
    assert value(loss, truth, p) == pytest.approx(expected, rel=2e-5)
    assert value(loss, truth[..., 0], p[..., 0]) == pytest.approx(expected, rel=2e-5)


def test_weights_are_those_of_pixels(case, batch):
    """Those of a formula's sums, and of the mean over pixels, as in Keras; twice as large they double the loss."""
    loss, formula = case
    truth, p = batch
    weight = np.random.default_rng(1).integers(0, 3, truth.shape).astype(np.float32)
    expected = weight.mean() * formula(truth, p.astype(np.float64), weight.astype(np.float64))
    assert value(loss, truth, p, weight) == pytest.approx(expected, rel=2e-5)
    assert value(loss, truth, p, 2 * weight) == pytest.approx(2 * expected, rel=2e-5)


def test_a_pixel_of_weight_zero_is_as_if_it_were_not_there(case, batch):
    """A strip at the edge that nothing but errors fill: the loss and the gradients are those of the rest."""
    loss, _ = case
    truth, p = batch
    filled, wrong, weight = truth.copy(), p.copy(), np.ones(truth.shape, np.float32)
    filled[:, :, 9:], wrong[:, :, 9:], weight[:, :, 9:] = 0, 1, 0
    expected, slopes = gradient(loss, truth[:, :, :9], p[:, :, :9])
    found, all_slopes = gradient(loss, filled, wrong, weight)
    assert found == pytest.approx(0.75 * expected, rel=2e-5)  # Keras divides by all pixels
    np.testing.assert_allclose(all_slopes[:, :, :9], 0.75 * slopes, rtol=1e-3, atol=1e-7)
    assert not all_slopes[:, :, 9:].any()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_loss_and_gradient_are_finite_at_the_edges(case, dtype):
    """Nothing or everything true, nothing or everything predicted for sure, or nearly, and weights that are all 0."""
    loss, _ = case
    shape = (2, 8, 8, 1)
    half, nothing = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    half[0, 2:5, 2:5] = 1
    little = np.full(shape, np.finfo(dtype).eps, np.float32)
    for truth in (nothing, 1 - nothing, half):
        for probability in (nothing, 1 - nothing, half, 1 - half, little):
            found, slopes = gradient(loss, truth, tf.cast(probability, dtype))
            assert np.isfinite(found) and np.isfinite(slopes).all(), (truth.sum(), probability.sum())
        found, slopes = gradient(loss, truth, tf.cast(half, dtype), nothing)
        assert found == 0 and not slopes.any()


def test_a_perfect_prediction_costs_next_to_nothing_and_its_opposite_much(case, batch):
    loss, _ = case
    truth, _ = batch
    assert value(loss, truth, truth) < 1e-4
    if loss.name != "boundary":  # the outline of all that is not there lies beside that of what is
        assert value(loss, truth, 1 - truth) > 0.9


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_probabilities_are_counted_in_float32(case, batch, half):
    """In half precision itself, sums would be those of ever fewer digits, or overflow."""
    loss, _ = case
    truth, p = (np.tile(part, (1, 18, 18, 1)) for part in batch)  # twice as many pixels as float16 reaches
    found, slopes = gradient(loss, truth, tf.cast(p, half))
    expected = value(loss, truth, tf.cast(tf.cast(p, half), tf.float32))
    assert found.dtype == np.float32 and slopes.dtype == tf.as_dtype(half).as_numpy_dtype
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_the_slopes_of_the_loss(case, batch, weighted):
    """By central differences in float64, where the loss has no kink between the two."""
    truth, p = (part[:2, 4:12, 2:10].astype(np.float64) for part in batch)
    loss = type(case[0]).from_config({**case[0].get_config(), "dtype": "float64"})
    weight = np.random.default_rng(2).uniform(0.5, 2, truth.shape) if weighted else None
    found, step = gradient(loss, truth, p, weight)[1], 1e-6
    for index in np.random.default_rng(3).choice(p.size, 8, replace=False):
        moved = np.zeros(p.size)
        moved[index] = step
        moved = moved.reshape(p.shape)
        expected = (value(loss, truth, p + moved, weight) - value(loss, truth, p - moved, weight)) / (2 * step)
        assert found.ravel()[index] == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_keras_has_some_of_them_too(batch):
    truth, p = batch
    theirs = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.3, gamma=1.5)
    assert value(Focal(1.5, 0.3), truth, p) == pytest.approx(value(theirs, truth, p), rel=1e-5)
    theirs = keras.losses.Tversky(alpha=0.8, beta=0.3)  # alpha weighs what is missed, unlike its docs say
    assert value(Tversky(0.3, 0.8), truth, p) == pytest.approx(value(theirs, truth, p), rel=1e-5)


def test_lovasz_is_jaccard_where_errors_are_zero_or_one(batch):
    truth, p = batch
    marked = (p > 0.4).astype(np.float32)
    union = np.maximum(truth, marked).sum()
    assert value(Lovasz(), truth, marked) == pytest.approx(1 - (truth * marked).sum() / union, rel=1e-5)


def test_lovasz_holds_over_many_pixels_and_ties():
    """Its rises are of a few millionths each there; float32 would lose them as differences of near ones."""
    rng = np.random.default_rng(4)
    truth = (rng.random((4, 128, 128, 1)) < 0.02).astype(np.float32)
    p = (rng.integers(0, 20, truth.shape) / 20).astype(np.float32)
    error, t = np.abs(truth - p).astype(np.float64).ravel(), truth.astype(np.float64).ravel()
    order = np.argsort(-error)
    inside, outside = t.sum() - np.cumsum(t[order]), t.sum() + np.cumsum(1 - t[order])
    rises = np.diff(1 - inside / outside, prepend=0)  # as in the paper's algorithm 1
    assert value(Lovasz(), truth, p) == pytest.approx(error[order] @ rises, rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_pixels_can_be_had_unreduced(case, batch, reduction):
    loss = type(case[0]).from_config({**case[0].get_config(), "reduction": reduction})
    found = loss(*batch)
    assert found.shape == (() if reduction == "sum" else (3, 12, 12, 1))
    assert np.sum(found) == pytest.approx(432 * value(case[0], *batch), rel=1e-4)


def test_a_loss_round_trips_through_a_file(case, batch, tmp_path):
    inputs = keras.Input((12, 12, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs))
    model.compile(keras.optimizers.SGD(), case[0])
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras").loss
    assert type(again) is type(case[0]) and again.get_config() == case[0].get_config()
    assert value(again, *batch) == value(case[0], *batch)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("dise", {}, "did you mean 'dice'"),
        ("focal", {"gama": 2.0}, "unknown setting of loss 'focal' 'gama'; did you mean 'gamma'"),
        ("dice", {"alpha": 0.5}, "loss 'dice' has no settings, got 'alpha'"),
        ("bce", {"positive_weight": 0}, "positive_weight must be above 0, got 0"),
        ("bce", {"positive_weight": "balanced"}, "positive_weight must be a number, got 'balanced'"),
        ("focal", {"gamma": -1}, "gamma must be 0 or more"),
        ("focal", {"alpha": 1.5}, r"alpha must lie in 0\.\.1"),
        ("tversky", {"alpha": 0, "beta": 0}, "alpha [+] beta must be above 0"),
        ("tversky", {"gamma": float("nan")}, "gamma must be above 0"),
        ("boundary", {"size": 4}, "size must be an odd number of pixels, 3 or more"),
        ("sum", {}, "a sum needs a weight for each"),
        ("sum", {"terms": [{"name": "dice", "weight": 0}]}, "a weight must be above 0"),
        ("sum", {"term": []}, "did you mean 'terms'"),
    ],
)
def test_senseless_losses_are_refused(name, settings, said):
    with pytest.raises(LandslideError, match=said):
        get_loss(name, **settings)


def test_a_sum_is_of_our_losses():
    with pytest.raises(LandslideError, match="losses of tf_landslide"):
        WeightedSum([keras.losses.Dice()], [1.0])


@pytest.mark.parametrize(("name", "settings", "least"), [("bce", {}, 0.6), ("focal", {"gamma": 2.0}, 0.724)])
def test_where_losses_are_least_of_a_soft_mask_is_as_the_docs_say(name, settings, least):
    probabilities = np.linspace(0.001, 0.999, 999)
    by_formula = -(0.6 * np.log(probabilities) + 0.4 * np.log(1 - probabilities))
    if name == "focal":
        by_formula *= (0.6 * (1 - probabilities) + 0.4 * probabilities) ** 2
    assert probabilities[by_formula.argmin()] == pytest.approx(least)
    loss, mask = get_loss(name, **settings), np.full((1, 1, 1, 1), 0.6, np.float32)
    found = [float(loss(mask, np.full_like(mask, p))) for p in probabilities]
    assert probabilities[np.argmin(found)] == pytest.approx(least, abs=0.002)
