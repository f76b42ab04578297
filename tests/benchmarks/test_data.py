"""What the data benchmark claims of published files holds for those that are here."""

from pathlib import Path

from benchmarks.support.originals import check, originals

DATA = Path(__file__).parents[1] / "data"


def test_every_published_file_here_imports_comes_back_and_trains(tmp_path: Path) -> None:
    assert len({original.task for original in originals(DATA)}) >= 11
    rows = check(DATA, tmp_path)
    assert {row.what: row.ours == row.peer for row in rows} == {
        "imports": True, "equal values": True, "trains": True,
    }  # fmt: skip
