"""``make audit`` never says "none known" of packages that nobody was asked about."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = {"name": "a", "skip_reason": "not found"}
SOUND = {"name": "b", "version": "1", "vulns": []}
BAD = {"name": "c", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        (None, 0, "audit: skipped: no vulnerability service could be asked: no route"),
        ([SKIPPED], 0, "audit: skipped: no vulnerability service knows any of the packages"),
        ([SKIPPED, SOUND], 0, "audit: 0 of 1 packages have known vulnerabilities"),
        ([SOUND, BAD], 1, "audit: c 1: CVE-1, mended in 2"),
    ],
)
def test_audit(
    repository: Path,
    tmp_path: Path,
    packages: list[dict[str, object]] | None,
    code: int,
    told: str,
):
    tool = tmp_path / "pip-audit"
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    tool.write_text(f"#!/bin/sh\necho 'no route' >&2\necho '{answer}'\nexit 1\n")
    tool.chmod(0o755)
    done = subprocess.run(
        [sys.executable, repository / ".ci" / "audit", tool, "constraints.txt"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert told in done.stdout
