"""What a model must beat: marking everything, a threshold on one channel, a random forest on single pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from tf_landslide.data.source import PatchSource
from tf_landslide.metrics import IGNORED, SCORES
from tf_landslide.metrics.counts import Histograms, best_threshold, judge, scores


def _arrays(source: PatchSource) -> tuple[np.ndarray, np.ndarray]:
    channels, masks = source.fetch(np.arange(len(source)))
    return channels, masks[..., 0]


def mark_everything(test: PatchSource) -> dict[str, float]:
    """Scores of calling every pixel a landslide."""
    _, mask = _arrays(test)
    return {k: float(v) for k, v in scores((mask == 1).sum(), (mask == 0).sum(), 0).items()}


def best_channel_threshold(train: PatchSource, test: PatchSource) -> dict[str, Any]:
    """Scores on ``test`` of the single channel, direction and threshold that have the best F1 on ``train``.

    Each channel is replaced by its rank in the training split (1,000 quantiles), so that the threshold search is the
    one models are judged by.
    """
    (x, y), (test_x, test_y) = _arrays(train), _arrays(test)
    best_f1, best = -1.0, {}
    for i, name in enumerate(train.channel_names):
        quantiles = np.nanquantile(x[..., i], np.linspace(0, 1, 1001))
        for sign in (1, -1):

            def ranks(values, sign=sign, quantiles=quantiles):
                rank = np.searchsorted(quantiles, values) / len(quantiles)
                return rank if sign > 0 else 1 - rank

            histograms = Histograms.of(zip(ranks(x[..., i]), y, strict=True))
            threshold = best_threshold(histograms)
            f1 = judge(histograms, threshold, resamples=1)["f1"]
            if f1 > best_f1:
                judged = judge(Histograms.of(zip(ranks(test_x[..., i]), test_y, strict=True)), threshold)
                best_f1, best = f1, {**judged, "channel": name, "above": sign > 0}
    return best


def pixel_forest(
    train: PatchSource, valid: PatchSource, test: PatchSource, *, pixels: int = 200_000, seed: int = 0
) -> dict[str, Any]:
    """Scores on ``test`` of a random forest that sees the channels of one pixel at a time.

    Args:
        train: the forest is grown on ``pixels`` random pixels of it, both classes weighted alike.
        valid: chooses its threshold, as for any model.
        test: judged on.
        pixels: number of training pixels.
        seed: of the sample and the forest.
    """
    x, y = _arrays(train)
    known = y != IGNORED
    x, y = x[known], y[known]
    chosen = np.random.default_rng(seed).choice(len(y), min(pixels, len(y)), replace=False)
    forest = RandomForestClassifier(100, min_samples_leaf=5, class_weight="balanced", n_jobs=-1, random_state=seed)
    forest.fit(x[chosen], y[chosen])

    def histograms(source: PatchSource) -> Histograms:
        channels, masks = _arrays(source)
        probability = forest.predict_proba(channels.reshape(-1, channels.shape[-1]))[:, 1]
        return Histograms.of(zip(probability.reshape(masks.shape), masks, strict=True))

    return judge(histograms(test), best_threshold(histograms(valid)))


def baselines(sources: dict[str, PatchSource]) -> dict[str, dict[str, float]]:
    """F1, precision, recall and IoU on the test split of each baseline, by name."""
    channel = best_channel_threshold(sources["train"], sources["test"])
    rows = {
        "every pixel marked": mark_everything(sources["test"]),
        f"best threshold on one channel ({channel['channel']})": channel,
        "random forest on single pixels": pixel_forest(sources["train"], sources["valid"], sources["test"]),
    }
    return {name: {score: row[score] for score in SCORES} for name, row in rows.items()}
