"""A comparison as people read it: the table, the page, the figure."""

from __future__ import annotations

from typing import Any

from tf_landslide.core.tables import Table
from tf_landslide.evaluation.comparison import ALIKE, LEVELS
from tf_landslide.evaluation.document import Document, Plot, Section
from tf_landslide.figures.curves import ranking
from tf_landslide.metrics import SCORES

_MARKS = ", ".join(f"{mark} p < {level:g}" for level, mark in reversed(LEVELS))


def comparison_table(compared: dict[str, Any]) -> Table:
    """A row for each model, the best first."""
    rows = []
    for row in compared["rows"]:
        ece = "–" if row["ece"] is None else f"{row['ece']:.4f}"
        told = (f"{row[name]:.4f}" for name in ("precision", "recall", "iou"))
        rows.append((row["model"], _f1(row), *_difference(row["difference"], compared), *told, ece, _thresholds(row)))
    p = f"p, {compared['unit']}"
    header = (
        "model",
        "F1",
        f"from the {_kind(compared)}",
        p,
        "p, seeds",
        "",
        "precision",
        "recall",
        "IoU",
        "ECE",
        "threshold",
    )
    return Table(header, rows)


def comparison_values(compared: dict[str, Any]) -> Table:
    """The same as plain numbers, for a spreadsheet: a row for each model, nothing where there is none."""
    header = (
        *("model", "network", "differs", "runs", "seeds", "split", "patches", "pixels", "thresholds", "threshold_from"),
        *(*SCORES, "ece", "f1_low", "f1_high", "f1_half_width_over_seeds"),
        *(
            "difference_from",
            "difference",
            "difference_low",
            "difference_high",
            "p_bootstrap",
            "p_permutation",
            "p_holm",
            "p_seeds",
        ),
    )
    rows = []
    for row in compared["rows"]:
        difference = row["difference"] or {}
        low, high = difference.get("interval", (None, None))
        values = (
            *(row["model"], row["network"], _told(row["differs"]), " ".join(row["runs"])),
            *(" ".join(map(str, row["seeds"])), compared["split"], compared["patches"], compared["pixels"]),
            *(" ".join(f"{t:g}" for t in row["thresholds"]), "; ".join(row["threshold_from"])),
            *(row[name] for name in (*SCORES, "ece")),
            *(*row["interval"], row["over_seeds"]),
            *(_reference(compared) if difference else None, difference.get("value"), low, high),
            *(difference.get(name) for name in ("p_bootstrap", "p_permutation", "p", "p_seeds")),
        )
        rows.append(tuple("" if value is None else value for value in values))
    return Table(header, rows)


def comparison_document(compared: dict[str, Any], notes: list[str]) -> Document:
    """The page."""
    rows = compared["rows"]
    known = compared["pixels"] - compared["ignored"]
    left = f" less {compared['ignored']:,} that masks leave out" if compared["ignored"] else ""
    origin = "; ".join(sorted({source for row in rows for source in row["threshold_from"]}))
    members = [
        (
            m["run"],
            m["seed"],
            f"{m['threshold']:.3f}",
            f"{m['f1']:.4f}",
            *(f"{m[n]:,}" for n in ("tp", "fp", "fn", "tn")),
        )
        for row in rows
        for m in row["members"]
    ]
    differing = [(row["model"], row["network"], _told(row["differs"]) or "–") for row in rows]
    figure = Plot(
        "comparison",
        "F1 of each model, and its difference",
        ranking(rows, compared["unit"], _kind(compared)),
        wide=True,
    )
    return Document(
        title=f"{len(rows)} models on {compared['split']}",
        lead="The same patches judged by every model, each at its own threshold; counts summed over all pixels, then "
        "divided once.",
        facts=(
            ("split", f"{compared['split']}, {compared['patches']:,} patches"),
            ("pixels", f"{compared['pixels']:,}{left}; the counts of every run sum to {known:,}"),
            ("landslide", f"{compared['landslide'] / max(known, 1):.2%} of them"),
            ("thresholds", origin),
            ("data", compared["data"]),
        ),
        notes=notes,
        sections=(
            Section("Models", [comparison_table(compared), _words(compared), figure]),
            Section("How they differ", [Table(("model", "network", "config"), differing, words=True)]),
            Section("Runs", [Table(("run", "seed", "threshold", "F1", "TP", "FP", "FN", "TN"), members)]),
        ),
    )


def _words(compared: dict[str, Any]) -> str:
    unit, seeds = compared["unit"], any(row["over_seeds"] is not None for row in compared["rows"])
    over = " Of several runs scores are means, and ± is Student's 95 % interval over seeds." if seeds else ""
    flatters = " The best was picked on this split, which flatters it." if compared["against"] is None else ""
    return (
        f"In brackets 95 % intervals over {compared['units']:,} {unit} (bootstrap).{over} Differences from "
        f"{_reference(compared)} are paired: the same {unit} of both, each with the mean of its runs. "
        f"p, {unit} (permutation test) asks whether these very runs would differ on other patches; p, seeds (Welch's t "
        "test, where both have several runs) whether other seeds would. The mark takes the larger one, adjusted for "
        f"the number of models (Holm): {_MARKS}, {ALIKE} not told apart. A model of one run can only be told apart "
        f"on its patches.{flatters}"
    )


def _reference(compared: dict[str, Any]) -> str:
    """The model that differences are from."""
    return compared["against"] or "the best"


def _kind(compared: dict[str, Any]) -> str:
    """What that model is to the others."""
    return "best" if compared["against"] is None else "baseline"


def _f1(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    spread = "" if row["over_seeds"] is None else f" ± {row['over_seeds']:.4f}"
    return f"{row['f1']:.4f}{spread} ({low:.3f}-{high:.3f})"


def _thresholds(row: dict[str, Any]) -> str:
    low, high = min(row["thresholds"]), max(row["thresholds"])
    return f"{low:.3f}" if low == high else f"{low:.3f}-{high:.3f}"


def _difference(told: dict[str, Any] | None, compared: dict[str, Any]) -> tuple[str, str, str, str]:
    if told is None:
        return (_kind(compared), "", "", "")
    low, high = told["interval"]
    seeds = "–" if told["p_seeds"] is None else f"{told['p_seeds']:.2g}"
    return (f"{told['value']:+.4f} ({low:+.3f} to {high:+.3f})", f"{told['p_permutation']:.2g}", seeds, told["mark"])


def _told(differs: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in differs.items())
