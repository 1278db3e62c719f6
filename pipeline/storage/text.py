"""Names, sizes and times as people read them, in one line."""

from __future__ import annotations

__all__ = ["clock", "compared", "grouped", "printable", "size"]


def printable(text: str) -> str:
    """Return text in one line that no file name can make a terminal do things with."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def size(n_bytes: float) -> str:
    """Return a size in decimal units, e.g. "1.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.2f} TB"


def compared(
    raw_bytes: int, stored_bytes: int, file_bytes: int | None = None, *, of: str = ""
) -> str:
    """Return e.g. "3.4 GB → 1.2 GB (ratio 2.83; files 1.5 GB, ratio 1.25)".

    Samples against stores and, where ``file_bytes`` is known, files, called ``of``, against them.
    """
    stored = max(1, stored_bytes)
    text = f"{size(raw_bytes)} → {size(stored_bytes)} (ratio {raw_bytes / stored:.2f}"
    if file_bytes is not None:
        text += f"; {of} {size(file_bytes)}, ratio {file_bytes / stored:.2f}"
    return f"{text})"


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def grouped(count: int) -> str:
    """Return a count with its digits in groups, e.g. "12 300"."""
    return f"{count:,}".replace(",", " ")
