"""What was timed: every round's seconds, and the tables of speeds and of time by function."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilepress.workflows.bench.tables import Figures

__all__ = ["SpeedResult", "SpeedRow"]

REFERENCES = ("jpegxl e3", "jpegxl e7")
"""What ratios refer to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """One codec on one sample type: seconds of every round."""

    kind: str
    codec: str
    encode_setting: str
    decode_setting: str
    raw_bytes: int
    samples: int
    coded_bytes: int
    """Of the encode setting: tiles, or whole planes."""
    first_s: float
    """The uncounted first pass: compiling, and trying the ways to use the threads."""
    encode_s: tuple[float, ...]
    decode_s: tuple[float, ...]
    encode_cpu_s: tuple[float, ...]
    """Processor time of the whole process; more than ``encode_s`` where threads ran."""
    decode_cpu_s: tuple[float, ...]

    @property
    def encode_mb_s(self) -> float:
        """Median over the rounds."""
        return self._speed(self.encode_s)

    @property
    def decode_mb_s(self) -> float:
        return self._speed(self.decode_s)

    @property
    def encode_mb_cpu_s(self) -> float:
        """Per second of one processor: other jobs on the machine change it less."""
        return self._speed(self.encode_cpu_s)

    @property
    def decode_mb_cpu_s(self) -> float:
        return self._speed(self.decode_cpu_s)

    def _speed(self, seconds: Sequence[float]) -> float:
        return statistics.median(self.raw_bytes / max(s, 1e-9) / 1e6 for s in seconds)

    def ratios(self, other: SpeedRow) -> tuple[float, float]:
        """Return how often it is as fast as ``other``: encode, decode; medians over the rounds."""
        encode = [b / a for a, b in zip(self.encode_s, other.encode_s, strict=True)]
        decode = [b / a for a, b in zip(self.decode_s, other.decode_s, strict=True)]
        return statistics.median(encode), statistics.median(decode)


@dataclass(slots=True, kw_only=True)
class SpeedResult:
    """All rows of one run."""

    threads: int
    rounds: int
    load_before: float
    """The machine's load average over a minute before the run: other jobs make figures noisy."""
    rows: list[SpeedRow] = field(default_factory=list)
    stages: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """codec + sample type → "encode" / "decode" → function → seconds, one thread."""

    def reference(self, row: SpeedRow, name: str) -> SpeedRow | None:
        return next((r for r in self.rows if r.kind == row.kind and r.codec == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return every round's seconds and what the tables show."""
        rows = []
        for row in self.rows:
            values = {name: getattr(row, name) for name in SpeedRow.__slots__}
            for name in ("encode_mb_s", "decode_mb_s", "encode_mb_cpu_s", "decode_mb_cpu_s"):
                values[name] = getattr(row, name)
            for name in REFERENCES:
                other = self.reference(row, name)
                if other is not None:
                    encode, decode = row.ratios(other)
                    values[f"to {name}"] = {"encode": encode, "decode": decode}
            rows.append(values)
        return {
            "threads": self.threads,
            "rounds": self.rounds,
            "load_before": self.load_before,
            "rows": rows,
            "stages_s": self.stages,
        }

    def figures(self) -> list[Figures]:
        """Return the table of speeds and, for ours, of time by function."""
        names = [name for name in REFERENCES if any(row.codec == name for row in self.rows)]
        columns = [
            "samples",
            "codec",
            "MB",
            "bits/sample",
            "encode MB/s",
            "MB/CPU s",
            *(f"× {name}" for name in names),
            "decode MB/s",
            "MB/CPU s",
            *(f"× {name}" for name in names),
            "threads over",
        ]
        table = Figures("speed", tuple(columns), text_columns=2)
        for row in self.rows:
            ratios = []
            for name in names:
                other = self.reference(row, name)
                ratios.append((math.nan, math.nan) if other is None else row.ratios(other))
            setting = row.encode_setting
            if row.decode_setting != setting:
                setting += f" / {row.decode_setting}"
            cells = [
                row.kind,
                row.codec,
                f"{row.raw_bytes / 1e6:.1f}",
                f"{8 * row.coded_bytes / row.samples:.3f}",
                f"{row.encode_mb_s:.1f}",
                f"{row.encode_mb_cpu_s:.1f}",
                *(f"{encode:.2f}" for encode, _ in ratios),
                f"{row.decode_mb_s:.1f}",
                f"{row.decode_mb_cpu_s:.1f}",
                *(f"{decode:.2f}" for _, decode in ratios),
                setting,
            ]
            table.rows.append(tuple(cells))
        table.notes.append(
            f"{self.threads} threads, median of {self.rounds} rounds in turns, ratios paired "
            f"within rounds; first pass (compiling) not counted; load average before: "
            f"{self.load_before:.1f}"
        )
        return [table, *self._stage_figures()]

    def _stage_figures(self) -> Iterator[Figures]:
        table = Figures("time by function", ("codec and samples", "encode", "decode"))
        table.text_columns = 3
        for name, stages in self.stages.items():
            cells = [_shares(stages[way]) for way in ("encode", "decode")]
            table.rows.append((name, *cells))
        table.notes.append("own time of each function, one thread, under the profiler")
        if table.rows:
            yield table


def _shares(seconds: Mapping[str, float], most: int = 5) -> str:
    """Return the functions that take most of the time, in per cent."""
    total = sum(seconds.values()) or 1.0
    largest = sorted(seconds.items(), key=lambda item: -item[1])[:most]
    return ", ".join(f"{name} {100 * s / total:.0f} %" for name, s in largest if s > 0.005 * total)
