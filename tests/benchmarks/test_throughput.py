"""The timing of two trainings: segments of both in alternation, and what their rows say."""

from pathlib import Path

import pytest

from benchmarks.support import pace
from benchmarks.support.ours import MICRO_BATCHES
from benchmarks.support.pace import EndedError, Operation, Segment, Side
from benchmarks.support.peers import Candidate
from benchmarks.throughput import Pace, rows
from tests.ups.converted import write_advection, write_darcy


def measured(task: str, ours: float, ratio: float, *, mib: int = 30, data: float = 0.01) -> Pace:
    return Pace(
        task, ours, ours / ratio, ratio, 10 << 20, mib << 20, data, (Operation("mm", 0.5, 9, "calls"),)
    )


class TestRows:
    def test_the_least_favourable_task_of_each_dimension_is_judged(self) -> None:
        paces = [
            measured("advection1d", 500.0, 1.3), measured("burgers1d", 400.0, 0.9),
            measured("darcy2d", 90.0, 3.0, mib=60), measured("reaction_diffusion2d", 90.0, 2.5, data=0.02),
        ]  # fmt: skip
        found = {row.what: row for row in rows(paces)}

        assert found["samples/s 1-D"].ratio == pytest.approx(0.9)
        assert found["samples/s 1-D"].holds is False
        assert found["samples/s 2-D"].ratio == pytest.approx(2.5)
        assert found["samples/s 2-D"].holds
        assert found["data wait"].ours == 0.02
        assert found["peak memory"].ratio == pytest.approx(10 / 60)
        assert found["peak memory"].peer_name == "FNO, darcy2d"


class TestSides:
    def test_each_goes_on_for_a_few_steps_at_a_time(self, tmp_path: Path) -> None:
        datasets = {"advection1d": write_advection(tmp_path, cells=64), "darcy2d": write_darcy(tmp_path)}
        unet = Candidate("unet", 8, 0, 2e-3, 4)
        ours = Side(pace.ours, tuple(datasets), "darcy2d", datasets, tmp_path / "run")
        peer = Side(pace.peer, unet, "darcy2d", datasets)
        try:
            first, other, second = ours.run(), peer.run(), ours.run("profile")
        finally:
            ours.close()
            peer.close()

        assert other.samples == 4 * pace.STEPS
        assert first.samples == second.samples == 4 * MICRO_BATCHES * pace.STEPS
        assert first.peak_bytes <= second.peak_bytes
        assert not first.operations
        assert len(second.operations) == 5
        assert all(isinstance(entry, Segment) and entry.cpu_seconds > 0 for entry in (first, other))

    def test_a_training_that_fails_is_noticed(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        side = Side(pace.ours, ("advection1d",), "advection1d", {}, tmp_path)
        with pytest.raises(EndedError):
            side.run()
        side.close()
        assert "there is no train split of advection1d" in capfd.readouterr().err
