"""Sections of a report that are made where asked for: another region, shuffled channels, faults of the input."""

from __future__ import annotations

from typing import Any

from tf_landslide.core.tables import Table
from tf_landslide.evaluation.document import Plot, Section
from tf_landslide.figures.curves import bars, risk_coverage


def shift_section(scores: dict[str, Any], split: str) -> Section:
    """From validation to here; empty where it was not asked for."""
    if "shift" not in scores:
        return Section("Shift", [])
    told = scores["shift"]
    rows = [
        (name, f"{row['before']:.4f}", f"{row['here']:.4f}", _signed(row["change"], row["interval"]))
        for name, row in (("F1", told["f1"]), ("ECE", told["ece"]))
        if row is not None
    ]
    best = told["own_best"]
    text = (
        f"The threshold is kept at {scores['threshold']:.3f}. The sets hold other patches: the interval draws those of "
        f"each for themselves. At the best threshold of {split} itself, {best['threshold']:.3f}, F1 would be "
        f"{best['f1']:.4f}: chosen on the patches it is judged on, a bound and not a score. The threshold costs "
        f"{told['by_threshold']:.4f} of F1; what remains of the drop is not a matter of the threshold."
    )
    return Section(f"Shift from {told['against']}", [Table(("", told["against"], split, "change"), rows), text])


def importance_section(scores: dict[str, Any]) -> Section:
    """What each channel is worth to the model; empty where it was not asked for."""
    if "importance" not in scores:
        return Section("Importance of channels", [])
    told = scores["importance"]
    rows = [
        (row["name"], f"{row['f1']:.4f}", _signed(row["drop"], row["interval"]))
        for row in (*told["channels"], *told["sources"])
    ]
    text = (
        f"F1 falls from {told['f1']:.4f} by that much when a channel, or all of a source, is taken from other patches "
        f"({told['repeats']} shuffles, seed {told['seed']}; 95 % intervals over {_unit(scores)}, paired). It says what "
        "this model leans on, not what one trained without the channel would do; channels that tell the same thing "
        "stand in for each other, which shuffling a whole source does not let them."
    )
    figure = bars([*told["channels"], *told["sources"]], "drop", "drop of F1")
    return Section(
        "Importance of channels",
        [Table(("shuffled", "F1", "drop"), rows), text, Plot("importance", "Drop of F1", figure, wide=True)],
    )


def sensitivity_section(scores: dict[str, Any]) -> Section:
    """What faults of the input cost; empty where it was not asked for."""
    if "sensitivity" not in scores:
        return Section("Faults of the input", [])
    told = scores["sensitivity"]
    rows = [
        (row["name"], f"{row['f1']:.4f}", _signed(row["change"], row["interval"]), _number(row["ece"]))
        for row in told["faults"]
    ]
    text = (
        "Bands are changed before channels are made of them, the threshold is kept; 95 % intervals over "
        f"{_unit(scores)}, paired. Level-2A "
        "differs from Level-1C in more than its offset: the air between is not imitated here."
    )
    first = ("as it is", f"{told['f1']:.4f}", "", _number(told["ece"]))
    return Section("Faults of the input", [Table(("input", "F1", "change of F1", "ECE"), [first, *rows]), text])


def unsure_section(scores: dict[str, Any]) -> Section:
    """Whether the model is unsure where it is wrong; empty where it was not asked for."""
    measures = {name: told for name, told in scores.get("uncertainty", {}).items() if told["curve"]}
    if not measures:
        return Section("Uncertainty", [])
    rows = []
    for name, told in measures.items():
        half, whole = (next(row for row in told["curve"] if row["coverage"] >= share) for share in (0.5, 1))
        errors = (f"{row[key]:.4f}" for key in ("risk", "f1") for row in (whole, half))
        rows.append((name, _number(told["aurc"]), _number(told["excess"]), *errors))
    text = (
        "Pixels are kept from the surest on. AURC is the mean share of wrong ones over every number kept (less is "
        "better), the excess what it lies above the best order there is, in which all errors come last. Where "
        "landslides are rare, the surest half may hold none: then its F1 says nothing. Pixels that are equally sure "
        "stand together: the half is the first share from 50 % on that can be told apart."
    )
    header = ("unsure by", "AURC", "excess", "wrong, of all", "of the surest half", "F1 of all", "of the surest half")
    figure = Plot("risk_coverage", "Errors and F1 among the surest pixels", risk_coverage(measures), wide=True)
    return Section("Uncertainty", [Table(header, rows), text, figure])


def _unit(scores: dict[str, Any]) -> str:
    """What is drawn for an interval where groups were at hand."""
    return "groups" if "interval_groups" in scores else "patches"


def _signed(value: float, interval: list[float]) -> str:
    return f"{value:+.4f} ({interval[0]:+.4f} to {interval[1]:+.4f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
