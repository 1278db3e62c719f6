"""Every test has a scratch folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.delenv("TILEPRESS_SCRATCH_LIMIT", raising=False)
    return tmp_path / "scratch"
