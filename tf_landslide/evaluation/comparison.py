"""Models beside each other on the same patches: Table 2 of the paper, for runs of one's own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tf_landslide.core.errors import LandslideError
from tf_landslide.metrics import SCORES
from tf_landslide.metrics.calibration import calibration
from tf_landslide.metrics.counts import sampled_scores, scores
from tf_landslide.metrics.resampling import bootstrap, interval
from tf_landslide.metrics.significance import holm, paired_significance
from tf_landslide.runs.judged import Judged
from tf_landslide.runs.sections import Config

RESAMPLES = 2000
LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
ALIKE = "≈"


@dataclass(frozen=True)
class Entry:
    """A run that was judged.

    Attributes:
        name: how it is called.
        config: of it.
        judged: its counts.
        made: of what else than a config it was made, by key: its training data, a checkpoint, other runs (counted, not
            named), their ``network`` and how they were combined.
        folder: it lies in.
    """

    name: str
    config: Config
    judged: Judged
    made: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def counts(self) -> np.ndarray:
        """(n, 4) TP, FP, FN, TN of each patch at the run's own threshold."""
        return self.judged.histograms.counts(self.judged.about.threshold)


def check_comparable(entries: Sequence[Entry]) -> None:
    """Refuse runs that were not judged on the same pixels.

    Raises:
        LandslideError: two that differ in split, files, patches, masks, or the pixels that count.
    """
    first, *others = entries
    for other in others:
        one, two = first.judged.about, other.judged.about
        for what, a, b, shown in (
            ("splits", one.split, two.split, f" ({one.split}, {two.split})"),
            ("ways to validate", one.of_train, two.of_train, " (a part of train, a split of its own)"),
            ("numbers of patches", len(one.names), len(two.names), f" ({len(one.names):,}, {len(two.names):,})"),
            ("patches", one.names, two.names, ""),
            ("masks", one.masks, two.masks, ""),
            ("files", one.files, two.files, f" ({one.data}, {two.data})"),
        ):
            if a != b:
                raise LandslideError(
                    f"{first.name} and {other.name}: were judged on different data: their {what} differ{shown}; "
                    "compare runs on one split of one dataset, --data DIR judges them all on it"
                )
        same = (first.judged.pixels, first.judged.ignored, first.judged.histograms.landslide.sum(1))
        theirs = (other.judged.pixels, other.judged.ignored, other.judged.histograms.landslide.sum(1))
        if not all(np.array_equal(a, b) for a, b in zip(same, theirs, strict=True)):
            raise LandslideError(f"{first.name} and {other.name}: count different pixels of the same patches")


def grouped(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Runs of one config, made alike of the same data, together, in the order of their first: they differ by their seed
    alone. A second run of one seed is no further seed, and stands by itself.
    """
    groups: dict[tuple[str, int], list[Entry]] = {}
    times: Counter[tuple[str, int]] = Counter()
    for entry in entries:
        alike, of_seed = _made_alike(entry), (_made_alike(entry), entry.config.training.seed)
        groups.setdefault((alike, times[of_seed]), []).append(entry)
        times[of_seed] += 1
    return list(groups.values())


def twins(entries: Sequence[Entry]) -> list[list[str]]:
    """The names of runs of one config and one seed, made alike, where there are several."""
    names: dict[tuple[str, int], list[str]] = {}
    for entry in entries:
        names.setdefault((_made_alike(entry), entry.config.training.seed), []).append(entry.name)
    return [alike for alike in names.values() if len(alike) > 1]


def _made_alike(entry: Entry) -> str:
    """What runs have in common that differ by their seed alone."""
    training = entry.config.training.model_copy(update={"seed": 0})
    config = entry.config.model_copy(update={"training": training, "threshold": None})
    return f"{config.to_yaml()}\n{sorted(entry.made.items())}"


def compare(
    entries: Sequence[Entry], against: str | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Scores of models on one split, and how each differs from the best, or from a baseline.

    Args:
        entries: judged runs, of which those that differ by their seed only make one model.
        against: name of an entry, whose model is the baseline; None takes the best.
        resamples: bootstrap samples, and tosses of the permutation test.
        seed: of both.

    Returns:
        ``split data patches pixels ignored landslide`` (what they were judged on), ``unit`` and ``units`` (what is
        drawn: patches, or groups where all runs name the same ones), ``against`` (the baseline's model; None for the
        best), and ``rows``, the best first, as ``_row`` says.

    Raises:
        LandslideError: as ``check_comparable``.
    """
    check_comparable(entries)
    about = entries[0].judged.about
    names = [entry.judged.about.groups for entry in entries]
    groups = names[0] if names[0] and len(set(names[0])) > 1 and all(n == names[0] for n in names) else None
    draws = bootstrap(len(about.names), resamples, seed, groups)
    models = grouped(entries)
    differing = _differences([model[0] for model in models])
    rows = [_row(model, differs, draws) for model, differs in zip(models, differing, strict=True)]
    order = sorted(range(len(rows)), key=lambda i: -rows[i]["f1"])
    named = [i for i, model in enumerate(models) if against in [entry.name for entry in model]]
    reference = named[0] if named else order[0]
    _against(
        rows, [np.stack([entry.counts for entry in model]) for model in models], reference, groups, resamples, seed
    )
    _distinct(rows, models)
    judged = entries[0].judged
    return {
        "split": about.split,
        "of_train": about.of_train,
        "data": about.data,
        "patches": len(about.names),
        "pixels": int(judged.pixels.sum()),
        "ignored": int(judged.ignored.sum()),
        "landslide": int(judged.histograms.landslide.sum()),
        "unit": "patches" if groups is None else "groups",
        "units": len(about.names) if groups is None else len(set(groups)),
        "against": rows[reference]["model"] if named else None,
        "rows": [rows[i] for i in order],
    }


def _row(model: Sequence[Entry], differs: dict[str, Any], draws: np.ndarray) -> dict[str, Any]:
    """A model: means over its runs of ``f1 precision recall iou ece``; ``interval`` of that F1 over patches or groups;
    ``over_seeds`` its half-width, Student's t over runs (None of one run); ``members``, a run each; ``model network
    differs runs seeds thresholds threshold_from``.
    """
    config, made, members, sampled = model[0].config, model[0].made, [], []
    for entry in model:
        tp, fp, fn, tn = (int(v) for v in entry.counts.sum(0))
        told = {name: float(value) for name, value in scores(tp, fp, fn).items()}
        about = entry.judged.about
        members.append(
            {
                "run": entry.name,
                "seed": entry.config.training.seed,
                "threshold": about.threshold,
                **told,
                "ece": calibration(entry.judged.histograms, resamples=1)["ece"],
                "tp": tp,
                "fp": fp,
                "fn": fn,
                "tn": tn,
            }
        )
        sampled.append(sampled_scores(draws, entry.counts)["f1"])
    f1 = [member["f1"] for member in members]
    eces = [member["ece"] for member in members if member["ece"] is not None]
    return {
        "model": config.name,
        "network": made.get("network") or " + ".join(filter(None, (config.model.architecture, config.model.encoder))),
        "differs": differs,
        **{name: float(np.mean([member[name] for member in members])) for name in SCORES},
        "ece": float(np.mean(eces)) if eces else None,
        "interval": interval(np.mean(sampled, axis=0)),
        "over_seeds": _half_width(f1),
        "runs": [entry.name for entry in model],
        "seeds": [member["seed"] for member in members],
        "thresholds": [member["threshold"] for member in members],
        "threshold_from": sorted({entry.judged.about.threshold_from for entry in model}),
        "members": members,
    }


def _against(
    rows: Sequence[dict[str, Any]],
    counts: Sequence[np.ndarray],
    reference: int,
    groups: list[str] | None,
    resamples: int,
    seed: int,
) -> None:
    """Add to each row its ``difference`` from the reference; None of the reference itself.

    It is that of ``paired_significance`` on the ``counts`` (runs, n, 4) of both, ``p_seeds`` (Welch's t test over runs,
    where both models have several), ``p`` (the larger of the permutation test's and that over seeds, by Holm for as
    many as are compared) and ``mark``.
    """
    others = [i for i in range(len(rows)) if i != reference]
    rows[reference]["difference"] = None
    found = []
    for i in others:
        told = paired_significance(counts[reference], counts[i], resamples=resamples, seed=seed, groups=groups)
        told["p_seeds"] = _welch(*([member["f1"] for member in rows[k]["members"]] for k in (reference, i)))
        found.append(told)
    worst = [max(told["p_permutation"], told["p_seeds"] or 0.0) for told in found]
    for i, told, p in zip(others, found, holm(worst), strict=True):
        mark = next((mark for level, mark in LEVELS if p < level), ALIKE)
        rows[i]["difference"] = {**told, "p": p, "mark": mark}


def _half_width(values: Sequence[float]) -> float | None:
    """Of the 95 % interval of a mean, by Student's t; None of one value."""
    if len(values) < 2:
        return None
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def _welch(one: Sequence[float], two: Sequence[float]) -> float | None:
    if min(len(one), len(two)) < 2 or np.ptp(one) + np.ptp(two) == 0:
        return None
    return float(stats.ttest_ind(one, two, equal_var=False).pvalue)


def _differences(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The keys that differ between models, with the value of each that has one; names, descriptions, thresholds and
    seeds apart.
    """
    flat = [
        flattened(entry.config.model_dump(mode="json") | ({"made": entry.made} if entry.made else {}))
        for entry in entries
    ]
    keys = [
        key
        for key in dict.fromkeys(key for values in flat for key in values)
        if key not in ("name", "description", "threshold", "training.seed")
        and any(values.get(key) != flat[0].get(key) for values in flat)
    ]
    return [{key: values[key] for key in keys if key in values} for values in flat]


def flattened(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """A config's values by their keys as they are written on a command line."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value, f"{before}{key}.") if isinstance(value, dict) and value else {f"{before}{key}": value}
    return flat


def _distinct(rows: Sequence[dict[str, Any]], models: Sequence[Sequence[Entry]]) -> None:
    """Models of one name are called by their networks, where these differ; what is still alike, by its folder besides:
    that of its runs where no other model's has that name, else its first run.
    """
    networks: dict[str, set[str]] = {}
    for row in rows:
        networks.setdefault(row["model"], set()).add(row["network"])
    for row in rows:
        if len(networks[row["model"]]) > 1:
            row["model"] = row["network"]
    names = [row["model"] for row in rows]
    common = [Path(commonpath([entry.folder for entry in model])).name for model in models]
    for row, name, folder in zip(rows, names, common, strict=True):
        if names.count(name) > 1:
            alone = len(row["runs"]) > 1 and folder and common.count(folder) == 1
            row["model"] = f"{name} ({folder if alone else row['runs'][0]})"
