"""What a soak saw: kept, judged, drawn and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from soak_callers import LOST, OUTCOMES, REFUSED, WRONG

from tf_landslide.core.tables import markdown_table

TIMES = 4
GROWTH, BACK = 0.05, 10.0  # of memory, at most; seconds until the rate is 0.9 of what it was


@dataclass
class Soak:
    """What was seen.

    Attributes:
        what: was asked.
        seconds: of the load.
        callers: where the rate no longer rises, and in the load.
        capacity: answers a second of the former, all of them valid.
        outcomes: of the load's requests.
        rates: answers a second, a number for each second of the load and what came after.
        memory: (seconds, MB, threads) of the process, from the beginning of the load on.
        growth: share by which memory grew from a fifth of the load on, by a straight line through it.
        back: seconds from the load's end until the rate was 0.9 of the capacity; None where that took too long.
        machine: it ran on.
    """

    what: str
    seconds: float
    callers: tuple[int, int] = (0, 0)
    capacity: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    rates: dict[str, list[int]] = field(default_factory=dict)
    memory: list[tuple[float, float, int]] = field(default_factory=list)
    growth: float = 0.0
    back: float | None = None
    machine: str = ""

    @property
    def faults(self) -> list[str]:
        """What should not be."""
        found = [f"{self.outcomes[what]} {what}" for what in (LOST, WRONG) if self.outcomes.get(what)]
        found += [f"memory grew by {self.growth:.1%}"] if self.growth >= GROWTH else []
        found += [f"the rate was not back in {BACK:g} s"] if self.back is None else []
        return [*found, *([] if self.outcomes.get(REFUSED) else ["nothing was refused: the queue was never full"])]


def picture(seen: Soak, path: Path) -> None:
    """What became of the requests, second by second, and the memory."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
    width = max(1, round(seen.seconds / 120))  # seconds to a point
    for name in (name for name in OUTCOMES if any(seen.rates[name])):
        counts = np.array(seen.rates[name][: len(seen.rates[name]) // width * width]).reshape(-1, width).mean(1)
        above.plot((np.arange(len(counts)) + 0.5) * width, counts, label=name)
    above.axhline(seen.capacity, color="grey", linestyle=":", label="capacity")
    above.axvline(seen.seconds, color="grey", linewidth=0.5)
    above.set_yscale("symlog", linthresh=1)  # answers beside many more refusals
    above.set(ylabel="requests a second", ylim=(0, None))
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize="small")
    times, sizes, threads = np.array(seen.memory).T
    below.plot(times, sizes)
    below.set(xlabel="seconds", ylabel="memory, MB", ylim=(0, None))
    beside = below.twinx()
    beside.plot(times, threads, color="tab:orange")
    beside.set_ylim(0, None)
    beside.set_ylabel("threads", color="tab:orange")
    above.set_title(
        f"{seen.what}: {seen.callers[1]} callers; {seen.callers[0]} get {seen.capacity:.1f} answers/s",
        fontsize="medium",
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)


def table(seen: Sequence[Soak]) -> str:
    """A column for each, as Markdown."""
    rows = [
        ("seconds of load", *(f"{s.seconds:g}" for s in seen)),
        ("callers where the rate no longer rises", *(str(s.callers[0]) for s in seen)),
        ("their answers a second (capacity)", *(f"{s.capacity:.1f}" for s in seen)),
        ("callers of the load", *(str(s.callers[1]) for s in seen)),
        *((name, *(f"{s.outcomes.get(name, 0):,}" for s in seen)) for name in OUTCOMES),
        ("memory at most, MB", *(f"{max(m[1] for m in s.memory):,.0f}" for s in seen)),
        ("its growth over the load", *(f"{s.growth:+.1%}" for s in seen)),
        ("threads at most", *(str(max(m[2] for m in s.memory)) for s in seen)),
        ("full speed again after, s", *("no" if s.back is None else f"{s.back:g}" for s in seen)),
    ]
    return markdown_table(("", *(s.what for s in seen)), rows)


def reported(text: str, seen: Sequence[Soak]) -> str:
    """A report with the table between its two marks replaced."""
    before, begin, rest = text.partition("<!-- soak -->\n")
    _, end, after = rest.partition("<!-- end of soak -->")
    if not (begin and end):
        raise ValueError("the report has no place for the table of the soak")
    machine = f"Measured on a machine of {seen[0].machine}.\n\n"
    return f"{before}{begin}\n{machine}{table(seen)}\n\n{end}{after}"
