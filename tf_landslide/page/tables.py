"""Numbers about results: a record for each patch and model, totals over many patches, tables and CSV of both."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tf_landslide.metrics import SCORES
from tf_landslide.page.analysis import LABELS, NOTHING, Analysis, shown
from tf_landslide.page.uploads import Upload
from tf_landslide.predict.result import Result, defined_scores

Record = dict[str, Any]

_SCORED = tuple(LABELS[name] for name in SCORES)
COLUMNS = ("model", "landslide %", "hectares", "mean probability", "threshold", "seconds", *_SCORED)
TOTAL_COLUMNS = ("model", "patches", "with a mask", "landslide %", "hectares", "threshold", "seconds", *_SCORED)
PATCH_COLUMNS = ("patch", *COLUMNS)


def records(analysis: Analysis, threshold: float | None = None) -> list[Record]:
    """What is known of each patch and model: names, pixels, a result's summary, counts where there is a mask.

    Where rules refine them, the network's own record comes first, then the refined one; ``refined_by`` says which.
    """
    found = []
    for position, upload in enumerate(analysis.uploads):
        refined = analysis.at(position, threshold)
        for name, network in analysis.network_at(position, threshold).items():
            if analysis.refining is None:
                found.append(_record(upload, name, network))
                continue
            found.append(_record(upload, name, network, {"refined_by": None}))
            if refined[name].refined is not None:
                found.append(_record(upload, name, refined[name], {"refined_by": analysis.refining.rules.name}))
    return found


def _record(upload: Upload, model: str, result: Result, more: Mapping[str, Any] = MappingProxyType({})) -> Record:
    return (
        {"file": upload.name, "layout": upload.layout.name if upload.layout else None, "model": model, **more}
        | {"pixels": int(result.probability.size)}
        | result.summary(upload.mask)
        | (result.counts(upload.mask) if upload.mask is not None else {})
        | {"seconds": result.seconds}
    )


def totals(rows: Sequence[Record]) -> list[Record]:
    """Each model, and each as refined, over all its patches: area added up, scores from counts of all masked pixels.

    An area is that of every patch or none: without a pixel size for one of them there is no total.
    """
    found = []
    for model, rules in dict.fromkeys((row["model"], row.get("refined_by")) for row in rows):
        own = [row for row in rows if (row["model"], row.get("refined_by")) == (model, rules)]
        judged = [row for row in own if "tp" in row]
        counts = {key: sum(row[key] for row in judged) for key in ("tp", "fp", "fn")}
        pixels, areas = sum(row["pixels"] for row in own), [row["landslide_area_m2"] for row in own]
        found.append(
            {"model": model}
            | ({"refined_by": rules} if "refined_by" in own[0] else {})
            | {"patches": len(own), "patches_with_mask": len(judged), "pixels": pixels}
            | {"threshold": own[0]["threshold"]}
            | {"landslide_fraction": sum(row["landslide_fraction"] * row["pixels"] for row in own) / pixels}
            | {"landslide_area_m2": None if None in areas else sum(areas)}
            | (defined_scores(**counts) | counts if judged else {})
            | {"seconds": sum(row["seconds"] for row in own)}
        )
    return found


def table(analysis: Analysis, upload: int, threshold: float | None = None) -> list[list[str]]:
    """A row of ``COLUMNS`` for each model on one upload."""
    one = replace(
        analysis, uploads=analysis.uploads[upload : upload + 1], results=analysis.results[upload : upload + 1]
    )
    return [row[1:] for row in patch_table(records(one, threshold))]


def patch_table(rows: Sequence[Record]) -> list[list[str]]:
    """A row of ``PATCH_COLUMNS`` for each record."""
    return [[row["file"], _named(row), *_extent(row), f"{row['mean_probability']:.4f}", *_rest(row)] for row in rows]


def total_table(rows: Sequence[Record]) -> list[list[str]]:
    """A row of ``TOTAL_COLUMNS`` for each model, from the records of its patches."""
    return [
        [_named(row), str(row["patches"]), str(row["patches_with_mask"]), *_extent(row), *_rest(row)]
        for row in totals(rows)
    ]


def as_csv(rows: Sequence[Record]) -> str:
    """Records as CSV (RFC 4180), with every key of any of them as a column; nothing where there is no value.

    A spreadsheet takes text that begins with ``= + - @`` for a formula: such a name gets an apostrophe in front.
    """
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _inert(value) for key, value in row.items()})
    return text.getvalue()


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _named(row: Record) -> str:
    """A model, and by what its masks are refined."""
    return f"{row['model']}, refined by {row['refined_by']}" if row.get("refined_by") else str(row["model"])


def _extent(row: Record) -> list[str]:
    area = row["landslide_area_m2"]
    return [f"{100 * row['landslide_fraction']:.2f}", NOTHING if area is None else f"{area / 1e4:,.2f}"]


def _rest(row: Record) -> list[str]:
    scores = [shown(row.get(name)) for name in SCORES]
    return [f"{row['threshold']:.3f}", f"{row['seconds']:.2f}", *scores]
