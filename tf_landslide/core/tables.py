"""Tables as plain text, for a terminal, as Markdown, HTML and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A header and rows of cells, numbers or ``words``; false where it has no row."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    words: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows)

    def markdown(self) -> str:
        return markdown_table(self.header, self.rows)

    def csv(self) -> str:
        """Comma-separated, CRLF at line ends (RFC 4180)."""
        text = io.StringIO()
        csv.writer(text).writerows([self.header, *self.rows])
        return text.getvalue()


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns under a ruled header: the first to the left, the others to the right."""
    cells = [tuple(header), *(tuple(map(str, row)) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))

    return "\n".join([line(cells[0]), "  ".join("-" * width for width in widths), *map(line, cells[1:])])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; a bar in a cell becomes a slash, since it would end the cell."""
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    lines += [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines)
