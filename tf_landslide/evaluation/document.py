"""A report as data: written as Markdown with pictures beside it, or as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tf_landslide.core.tables import Table
from tf_landslide.core.templates import render
from tf_landslide.figures.pictures import png
from tf_landslide.figures.plots import save, svg

_FOLDER = Path(__file__).parent
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Plot:
    """A figure with axes; ``name`` is its file's, without the ending."""

    name: str
    caption: str
    figure: Figure
    wide: bool = False

    @property
    def source(self) -> str:
        """For an ``img`` of a page."""
        return _data_uri("image/svg+xml", svg(self.figure))


@dataclass(frozen=True)
class Panels:
    """Pictures of one patch, side by side.

    Attributes:
        name: of the file that ``figure`` is written to, without the ending.
        caption: below them.
        pictures: a label and (H, W, 3) uint8 each.
        legend: colours and what they stand for.
        figure: the same on paper, for Markdown.
    """

    name: str
    caption: str
    pictures: Sequence[tuple[str, np.ndarray]]
    legend: Sequence[tuple[str, str]]
    figure: Figure

    @property
    def sources(self) -> list[tuple[str, str]]:
        """A label and what an ``img`` of a page shows, each."""
        return [(label, _data_uri("image/png", png(picture))) for label, picture in self.pictures]


Block = str | Table | Plot | Panels


@dataclass(frozen=True)
class Section:
    """A title and what stands under it; a paragraph is plain text."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: of it.
        lead: a paragraph under the title.
        facts: a label and a value each.
        notes: what a reader must know before believing a number.
        scores: a label, a value and an interval each, shown large.
        sections: the rest; those without a block are left out.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    sections: Sequence[Section]
    scores: Sequence[tuple[str, str, str]] = field(default=())

    def html(self) -> str:
        """One file: pictures inside, no script, nothing asked of anybody."""
        return render(_FOLDER / "report.html.jinja", policy=_POLICY, style=_style(), **self._values())

    def markdown(self) -> str:
        """The text, with links to the pictures that ``save_pictures`` writes."""
        return render(_FOLDER / "report.md.jinja", **self._values())

    def save_pictures(self, folder: Path) -> None:
        """Write what ``markdown`` links to."""
        for block in self._pictures():
            save(block.figure, folder / f"{block.name}.png")

    def _pictures(self) -> Iterator[Plot | Panels]:
        return (block for section in self.sections for block in section.blocks if isinstance(block, Plot | Panels))

    def _values(self) -> dict[str, object]:
        return {
            **{name: getattr(self, name) for name in ("title", "lead", "facts", "notes", "scores")},
            "sections": [
                (section.title, [(type(block).__name__, block) for block in section.blocks if _shown(block)])
                for section in self.sections
                if any(map(_shown, section.blocks))
            ],
        }


def _shown(block: Block) -> bool:
    return bool(block) if isinstance(block, str | Table) else True


def _style() -> str:
    return (_FOLDER / "report.css").read_text(encoding="utf-8")


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
