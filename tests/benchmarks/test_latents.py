"""The latents benchmark compares both on every row that its readers look for."""

import json
from pathlib import Path

import pytest

from benchmarks import latents


def test_measures_what_it_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "_QUICK", dict.fromkeys(latents._TASKS, 4))
    monkeypatch.setattr(latents, "_ROUNDS", 1)
    out = tmp_path / "rows.json"
    latents.main(["--quick", "--scratch", str(tmp_path), "--json", str(out)])
    rows = {row["what"]: row for row in json.loads(out.read_text())["rows"]}
    assert {"sequential", "random", "size", "build"} <= set(rows)
    assert rows["size"]["holds"]
    assert rows["build"]["holds"] is None
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in rows.values())
