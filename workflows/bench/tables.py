"""Tables of figures, once as data: on the terminal with rich, in a page as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from rich.table import Table

__all__ = ["Figures", "html_page"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
  color: #1c1c1c; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #888; }
tr.total td { border-top: 2px solid #888; font-weight: 600; }
.text { text-align: left; }
p.note { color: #555; margin: .3rem 0; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; } th, td { border-color: #444; }
  p.note { color: #aaa; }
}
"""


@dataclass(slots=True)
class Figures:
    """A table: the first column is text, the others are right-aligned."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    totals: list[tuple[str, ...]] = field(default_factory=list)
    """Rows below a line: means over the others."""
    notes: list[str] = field(default_factory=list)
    text_columns: int = 1
    """How many of the first columns are text."""

    def __rich__(self) -> Table:
        table = Table(title=self.title, caption="\n".join(self.notes) or None)
        table.caption_justify = "left"
        for place, column in enumerate(self.columns):
            if place < self.text_columns:
                table.add_column(column, overflow="fold")
            else:
                table.add_column(column, justify="right")
        for row in self.rows:
            table.add_row(*row)
        if self.totals:
            table.add_section()
        for row in self.totals:
            table.add_row(*row)
        return table

    def to_html(self) -> str:
        """Return a heading, the table and its notes; every text is escaped."""
        lines = [f"<h2>{escape(self.title)}</h2>", '<div class="wide"><table>']
        lines += ["<thead>", self._html_row(self.columns, "th"), "</thead>", "<tbody>"]
        lines += [self._html_row(row, "td") for row in self.rows]
        lines += [self._html_row(row, "td", ' class="total"') for row in self.totals]
        lines += ["</tbody></table></div>"]
        lines += [f'<p class="note">{escape(note)}</p>' for note in self.notes]
        return "\n".join(lines)

    def _html_row(self, cells: Sequence[str], tag: str, attribute: str = "") -> str:
        text = f'<{tag} class="text">'
        inside = "".join(
            f"{text if place < self.text_columns else f'<{tag}>'}{escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr{attribute}>{inside}</tr>"


def html_page(title: str, notes: Sequence[str], tables: Sequence[Figures]) -> str:
    """Return one self-contained page: no scripts, fonts, images or links."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        *(table.to_html() for table in tables),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"
