"""The tail benchmark measures copies that are whole, and judges them by what is required."""

import json
from pathlib import Path

import pytest

from benchmarks import tail

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_program("ssh")]


def test_both_sides_copy_every_line_and_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_QUICK", tail.Sizes(3_000, 0.5, 1))
    assert tail.main(["--quick", "--json", str(tmp_path / "rows.json")]) in (0, 1)
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["what"], row["peer_name"], row["bar"]) for row in rows] == [
        ("backlog", "required", 1.0),
        ("backlog", "ssh tail", None),
        ("CPU of 10⁶ lines", "ssh tail", None),
        ("lag at 5000 lines/s", "required", 1.0),
        ("lag at 5000 lines/s", "ssh tail -f", None),
    ]
    assert all(row["ours"] > 0 < row["peer"] for row in rows)


def test_a_copy_that_differs_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"came")
    (tmp_path / "original").write_bytes(b"sent")
    with pytest.raises(RuntimeError, match="is not"):
        tail._require_equal(tmp_path / "copy", tmp_path / "original")


def test_lines_are_as_long_as_said() -> None:
    assert len(tail.line(123456, 1.7e9)) == tail._LINE_BYTES
