"""Scores as tables, for reports and cards: cells are written as people read them."""

from __future__ import annotations

from typing import Any

from tf_landslide.core.tables import Table
from tf_landslide.metrics import SCORES


def scores_table(metrics: dict[str, Any]) -> Table:
    """A table of the scores of each split, with 95 % intervals over patches."""
    rows = []
    for split, row in metrics.items():
        cells = [_with_interval(row, name) for name in SCORES]
        made = "a share of" if "share_of_train" in row else "groups of" if "groups_of_train" in row else ""
        label = f"{split} ({made} train)" if made else split
        rows.append((label, row["patches"], *cells, f"{row['threshold']:.3f}"))
    return Table(("split", "patches", "F1", "precision", "recall", "IoU", "threshold"), rows)


def _with_interval(row: dict[str, Any], name: str) -> str:
    """A score and its interval; a dash for one that has no value, as F1 where there is nothing to find."""
    score, (low, high) = row[name], row["interval"][name]
    if score is None:
        return "–"
    return f"{score:.4f}" if low is None or high is None else f"{score:.4f} ({low:.3f}-{high:.3f})"


def calibration_table(metrics: dict[str, Any]) -> Table:
    """A table of the errors of calibration of each split; empty for scores without them."""
    rows = []
    for split, row in metrics.items():
        told = row.get("calibration", {})
        if told.get("ece") is None:
            continue
        low, high = told["interval"]["ece"]
        errors = (f"{told[name]:.4f}" for name in ("ece_mass", "rms_ce", "mce", "brier"))
        shares = (percent(told[name]) for name in ("mean_probability", "share"))
        rows.append((split, f"{told['ece']:.4f} ({low:.3f}-{high:.3f})", *errors, *shares))
    header = ("split", "ECE", "ECE, equal mass", "RMS-CE", "MCE", "Brier", "mean probability", "landslide")
    return Table(header, rows)


def intervals_table(metrics: dict[str, Any]) -> Table:
    """F1 of each split with its interval over patches beside that over groups; empty where no split has groups."""
    rows = []
    for split, row in metrics.items():
        if "interval_groups" in row:
            over = (f"{row[key]['f1'][0]:.3f}-{row[key]['f1'][1]:.3f}" for key in ("interval", "interval_groups"))
            rows.append((split, f"{row['f1']:.4f}", row["patches"], *over, row["groups"]))
    order = ("split", "F1", "patches", "interval over patches", "interval over groups", "groups")
    return Table(order, rows)


def confusion_table(scores: dict[str, Any]) -> Table:
    """The four counts of a split with their sums, which are its known pixels."""
    tp, fp, fn, tn = (scores[name] for name in ("tp", "fp", "fn", "tn"))
    rows = (("landslide", tp, fn, tp + fn), ("other", fp, tn, fp + tn), ("sum", tp + fp, fn + tn, tp + fp + fn + tn))
    return Table(
        ("truth", "marked", "not marked", "sum"), [(name, *(f"{n:,}" for n in numbers)) for name, *numbers in rows]
    )


def strata_table(strata: dict[str, Any]) -> Table:
    """Scores of the classes of one kind: those that have a meaning in any, a dash where they have none."""
    told = [name for name in ("f1", "precision", "recall") if any(row[name] is not None for row in strata["classes"])]
    rows = []
    for row in strata["classes"]:
        pixels = row["tp"] + row["fp"] + row["fn"] + row["tn"]
        cells = [_scored(row, name) for name in told]
        rows.append((row["label"], f"{pixels:,}", f"{row['tp'] + row['fn']:,}", f"{row['tp'] + row['fp']:,}", *cells))
    names = [name.replace("f1", "F1") for name in told]
    return Table(("class", "pixels", "landslide", "marked", *names), rows)


def _scored(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    low, high = row["interval"][name]
    return f"{row[name]:.3f} ({low:.3f}-{high:.3f})"


def objects_table(metrics: dict[str, Any]) -> Table:
    """A table of landslides as objects, a row for each split and IoU level; empty for scores without them."""
    rows = []
    for split, row in metrics.items():
        for level, at in row.get("objects", {}).get("at", {}).items():
            low, high = at["interval"]
            shares = (at[key] for key in ("omission", "commission", "omission_area", "commission_area"))
            rows.append((split, level, f"{at['f1']:.4f} ({low:.3f}-{high:.3f})", *map(percent, shares)))
    header = ("split", "IoU", "F1 of objects", "missed", "invented", "missed, by area", "invented, by area")
    return Table(header, rows)


def sizes_table(objects: dict[str, Any], level: str = "0.3") -> Table:
    """A table of what is missed and invented by class of size, at an IoU level."""
    classes = objects["classes"]
    ends = [f"to {after['pixels'] - 1:,}" for after in classes[1:]] + ["and more"]
    rows = [
        (
            f"{row['pixels']:,} {end}",
            *(row["truth"], percent(row["omission"][level])),
            *(row["found"], percent(row["commission"][level])),
        )
        for row, end in zip(classes, ends, strict=True)
    ]
    return Table(("pixels", "true objects", "missed", "found objects", "invented"), rows)


def refined_table(scores: dict[str, Any]) -> Table:
    """A table of a split as the network marks it, refined, and the difference; empty for scores without it."""
    if "refined" not in scores:
        return Table((), ())
    refined = scores["refined"]
    difference = refined["difference"]
    rows = [(name, scores[name], refined[name], difference[name]) for name in SCORES]
    for level, at in refined["objects"]["at"].items():
        of_network = scores["objects"]["at"][level]["f1"]
        rows.append((f"objects, IoU {level}: f1", of_network, at["f1"], difference["objects"][level]))
    header = ("", "network", "refined", "difference (paired)")
    return Table(header, [(name, f"{a:.4f}", f"{b:.4f}", _signed(d)) for name, a, b, d in rows])


def _signed(difference: dict[str, Any]) -> str:
    low, high = difference["interval"]
    return f"{difference['value']:+.4f} ({low:+.4f} to {high:+.4f})"


def percent(share: float | None) -> str:
    """A share in words; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"
