"""Tables of HTML, as notebooks show values. What is in them is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["paragraph", "table"]


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Return a table; without column names, the first cell of each row is a heading."""
    lines = []
    if head:
        lines.append(f"<tr>{''.join(f'<th>{escape(one)}</th>' for one in head)}</tr>")
    for row in rows:
        first, *rest = (escape(str(cell)) for cell in row)
        kind = "td" if head else "th"
        cells = "".join(f'<td style="text-align:left">{cell}</td>' for cell in rest)
        lines.append(f'<tr><{kind} style="text-align:left">{first}</{kind}>{cells}</tr>')
    return f"<table>{''.join(lines)}</table>"


def paragraph(text: str) -> str:
    """Return a paragraph of text."""
    return f"<p>{escape(text)}</p>"
