"""Fit rules for objects to a run's validation split, and write them down with what fitting them saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tf_landslide.core.errors import LandslideError
from tf_landslide.core.files import require_writable, write_text
from tf_landslide.data.source import PatchSource
from tf_landslide.evaluation.judge import predictions
from tf_landslide.evaluation.tally import MasksDigest
from tf_landslide.metrics.counts import judged_counts
from tf_landslide.metrics.objects import ObjectCounts
from tf_landslide.metrics.significance import paired_difference
from tf_landslide.objects.counted import Counted, Seen
from tf_landslide.objects.fit import FOLDS, begun, check_folding, cross_validated, fit_forest, fit_rules
from tf_landslide.objects.judging import Refiner, compared, pixel_counts
from tf_landslide.objects.refine import PROBABILITY, decided, layer_units, patch_layers
from tf_landslide.objects.rules import Rules
from tf_landslide.predict.load import predictor_of
from tf_landslide.runs import formats
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.folder import Run
from tf_landslide.runs.provenance import judged_on
from tf_landslide.runs.splits import open_splits

_SAMPLED = 64  # patches that spreads are measured on
SPLIT = "valid"  # the only one that anything is fitted on


def fit(
    run: Run, data_dir: str | Path, out: Path, rules: Rules, *, forest: bool = False, folds: int = FOLDS, seed: int = 0
) -> dict[str, Any]:
    """Fit rules to a run's validation split and write them to ``out``, a forest beside it as ``.npz``.

    Args:
        run: whose probabilities are refined.
        data_dir: the dataset.
        out: the YAML file to write.
        rules: to begin with.
        forest: grow a random forest on the objects' attributes in place of moving ramps.
        folds: that validation is cut into, to say what fitting is worth on patches that it has not seen.
        seed: of the folds and the forest.

    Returns:
        ``fit`` as the file holds it, and ``held_out``: scores of every patch as refined by rules fitted on others, as
        ``objects.judging.compared`` gives them.

    Raises:
        LandslideError: an unfinished run, data that cannot be used, nothing to fit to; and, before anything is read,
            folds, a seed or a file that cannot be, as a run's own.
    """
    if out.suffix not in (".yaml", ".yml") or out.is_dir():
        raise LandslideError(f"{out}: expected a file to write rules to, NAME.yaml")
    formats.check_spares_runs(out, "file for the rules")
    require_writable(out.parent)
    check_folding(folds, seed)
    threshold = run.threshold  # an unfinished run is refused before any reading
    source = open_splits(judged_on(run, data_dir, SPLIT).config, data_dir, splits=[SPLIT])[SPLIT]
    rules = _with_spreads(rules, source, run.card())
    seen, digest = _seen(run, source, rules, threshold)
    objects = Counted.of(seen, threshold)
    start = begun(rules, objects, layer_units(run.card()))
    fitting: Callable[[Counted], Rules] = partial(fit_forest, start, seed=seed) if forest else partial(fit_rules, start)
    counts, fitted = cross_validated(fitting, objects, folds=folds, seed=seed)
    network = objects.network_counts()
    final = fitting(objects)
    difference = paired_difference(network, counts)["f1"]
    record = {
        "split": SPLIT,
        "data": Path(data_dir).resolve().name,
        "model": run.config.name,
        "threshold": threshold,
        "patches": len(objects),
        "objects": len(objects.patch),
        "masks_sha256": digest,
        "f1_network": _f1(network),
        "f1_fitted": _f1(objects.counts(final)),
        "held_out": {
            "folds": len(fitted),
            "seed": seed,
            "f1": _f1(counts),
            "f1_difference": round(difference["value"], 4),
            "interval": [round(end, 4) for end in difference["interval"]],
        },
    }
    write_rules(out, replace(final, name=_name(out), fit=record))
    return {"fit": record, "held_out": _held_out(seen, fitted, threshold)}


def write_rules(path: Path, rules: Rules) -> None:
    """Write rules as YAML, their forest beside them under the same name."""
    values = rules.as_dict()
    if rules.forest is not None:
        file = path.with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        rules.forest.write(file)
        values["forest"] = file.name
    write_text(path, yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


class _Dumper(yaml.SafeDumper):
    """Lists of numbers and names on one line, all else line by line."""


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    plain = all(isinstance(value, (int, float, str)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=plain)


_Dumper.add_representer(list, _list)


def _with_spreads(rules: Rules, source: PatchSource, card: ModelCard) -> Rules:
    """The rules, with the spreads of the data: patches and scenes are cut into like segments then."""
    chosen = np.unique(np.linspace(0, len(source) - 1, _SAMPLED).astype(int))
    patches = [patch_layers(channels, card) for channels in source.fetch(chosen)[0]]
    layers = {name: np.stack([patch[name] for patch in patches]) for name in patches[0]}
    there = tuple(name for name in rules.segments.layers if name in (PROBABILITY, *layers))
    if not there:
        return rules  # refining says what is missing
    return replace(rules, segments=replace(rules.segments, layers=there).with_spreads(layers))


def _seen(run: Run, source: PatchSource, rules: Rules, threshold: float) -> tuple[list[Seen], str]:
    """Every patch of the split with its objects, and the digest of its masks."""
    predictor = predictor_of(run)
    refiner, digest, seen = Refiner(predictor.card, rules, threshold), MasksDigest(), []
    for channels, probability, mask in predictions(predictor, source, SPLIT):
        refined = refiner(channels, probability)
        digest.add(mask)
        seen.append(Seen(probability, mask, refined.labels, refined.table))
    return seen, digest.text


def _held_out(seen: list[Seen], fitted: list[tuple[np.ndarray, Rules]], threshold: float) -> dict[str, Any]:
    """Scores of pixels and objects, each patch refined by the rules of the fold that did not see it."""
    by_patch = {int(patch): rules for patches, rules in fitted for patch in patches}
    counts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    objects: tuple[list[ObjectCounts], list[ObjectCounts]] = ([], [])
    for number, patch in enumerate(seen):
        rules = by_patch[number]
        refined = decided(patch.labels, patch.probability, rules.confidence(patch.table), rules, threshold)
        network = patch.probability >= np.float32(threshold)
        for i, marked in enumerate((network, refined)):
            counts[i].append(pixel_counts(marked, patch.mask))
            objects[i].append(ObjectCounts.of([(marked, patch.mask)]))
    return compared(counts, objects, threshold)


def _f1(counts: np.ndarray) -> float:
    return round(judged_counts(counts, resamples=1)["f1"], 4)


def _name(path: Path) -> str:
    """A name for rules, of the file's."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in path.stem)[:60] or "rules"
