"""The comparison with the FNO: fair shares, choices on validation, outcomes that survive an interruption."""

import math
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.support.contest import best_of, medians, planned_trainings, share_of, summary
from benchmarks.support.ours import CpuClock
from benchmarks.support.peer_training import cosine
from benchmarks.support.peers import Candidate, UNet, candidates
from benchmarks.support.scoring import Score, persistence, score
from benchmarks.support.trials import Kind, Outcome, Progress, Runner, Trial, run_trial
from tests.ups.converted import write_advection, write_darcy
from ups.data.fields import Fields
from ups.events import EventType
from ups.tasks import task_spec


def fno(width: int) -> Candidate:
    return Candidate("fno", width, 4, 8e-3, 4)


class TestChoice:
    def test_both_figures_of_the_validation_split_count(self) -> None:
        scores = {fno(1): Score(0.1, 0.9), fno(2): Score(0.2, 0.3), fno(3): Score(0.3, 0.3)}
        assert best_of(scores) == fno(2)

    def test_one_that_diverged_loses(self) -> None:
        assert best_of({fno(1): Score(0.1, math.nan), fno(2): Score(0.9, 9.0)}) == fno(2)

    @pytest.mark.parametrize("task", ["advection1d", "darcy2d"])
    def test_at_least_three_sizes_and_rates_are_tried(self, task: str) -> None:
        tried = candidates("fno", task_spec(task))
        assert len({(c.width, c.modes, c.rate) for c in tried}) >= 3


class TestFigures:
    def test_the_rollout_is_a_mean_over_time_steppers_only(self) -> None:
        means = summary({"advection1d": Score(0.1, 0.5), "darcy2d": Score(0.4, None)})
        assert means == {"one-step": pytest.approx(0.2), "rollout": pytest.approx(0.5)}

    def test_a_rollout_that_diverged_is_no_figure(self) -> None:
        assert math.isnan(summary({"advection1d": Score(0.1, math.inf)})["rollout"])

    def test_each_figure_is_the_median_over_seeds(self) -> None:
        seeds = [{"a": Score(1.0, 30.0)}, {"a": Score(2.0, 10.0)}, {"a": Score(9.0, 20.0)}]
        assert medians(seeds) == {"a": Score(2.0, 20.0)}


class TestBudget:
    def test_the_networks_of_all_tasks_share_what_ours_took(self) -> None:
        assert share_of(117.0, ("a", "b", "c")) == 39.0

    def test_tuning_and_ablations_are_part_of_the_plan(self) -> None:
        assert planned_trainings(3, quick=False, explained=True) == 11
        assert planned_trainings(3, quick=False, explained=False) == 8
        assert planned_trainings(1, quick=True, explained=True) == 5

    def test_set_up_and_first_steps_are_not_on_the_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        readings = iter([100.0, 102.0, 104.0])
        monkeypatch.setattr("benchmarks.support.ours.time.process_time", lambda: next(readings))
        clock = CpuClock()
        for done in (80, 160, 240):
            clock.write(EventType.PROGRESS, phase="train", task=None, done=done, total=240, unit="samples")
            clock.write(EventType.HEARTBEAT)

        assert clock.samples_per_second == 40.0
        assert clock.samples == 240

    def test_the_rate_rises_then_falls_to_zero(self) -> None:
        assert cosine(0.0) < 0.01
        assert cosine(0.03) == 1.0
        assert cosine(1.0) == pytest.approx(0.0)


class TestScoring:
    def test_persistence_is_wrong_and_the_truth_is_not(self, tmp_path: Path) -> None:
        files = {split: Fields.open(path) for split, path in write_advection(tmp_path).items()}
        states = files["test"].states
        assert states is not None

        def shifted(inputs: torch.Tensor, parameters: torch.Tensor, dt: float) -> torch.Tensor:
            modes = torch.arange(inputs.shape[1] // 2 + 1)
            phase = torch.exp(-2j * math.pi * modes * parameters * dt)[..., None]
            return torch.fft.irfft(torch.fft.rfft(inputs, dim=1) * phase, n=inputs.shape[1], dim=1)

        exact, copied = score(shifted, files["test"]), persistence(files["train"], files["test"])
        assert exact.rollout is not None
        assert copied.rollout is not None
        assert exact.one_step < 1e-4
        assert exact.rollout < 1e-3
        assert copied.rollout > copied.one_step > 0.05

    def test_a_static_task_is_judged_beside_the_training_mean(self, tmp_path: Path) -> None:
        files = {split: Fields.open(path) for split, path in write_darcy(tmp_path).items()}
        baseline = persistence(files["train"], files["test"])
        assert 0 < baseline.one_step < 1
        assert baseline.rollout is None


class TestTrainings:
    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Any:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    def test_ours_is_trained_by_the_project_and_scored_in_three_ways(self, tmp_path: Path) -> None:
        datasets = {"advection1d": write_advection(tmp_path, cells=64), "darcy2d": write_darcy(tmp_path)}
        outcome = run_trial(Trial(Kind.OURS, ("advection1d", "darcy2d"), 0.5, 0), datasets)

        assert set(outcome.scores) == {"full/val", "full/test", "unguarded/test", "plain/test"}
        assert outcome.of("test").keys() == datasets.keys()
        assert outcome.cpu_seconds > 0.1
        assert all(math.isfinite(entry.one_step) for entry in outcome.of("test").values())

    def test_a_peer_takes_its_seconds(self, tmp_path: Path) -> None:
        datasets = {"advection1d": write_advection(tmp_path, cells=64)}
        unet = Candidate("unet", 8, 0, 2e-3, 4)
        outcome = run_trial(Trial(Kind.PEER_GIVEN, ("advection1d",), 0.3, 0, unet), datasets)

        assert 0.3 <= outcome.cpu_seconds < 1.0
        assert outcome.samples >= 4
        assert outcome.of("test")["advection1d"].one_step < 2

    @pytest.mark.needs_module("neuralop")
    def test_so_does_the_fno(self, tmp_path: Path) -> None:
        datasets = {"darcy2d": write_darcy(tmp_path)}
        outcome = run_trial(Trial(Kind.PEER, ("darcy2d",), 0.3, 0, fno(8)), datasets)

        assert outcome.cpu_seconds >= 0.3
        assert outcome.of("val")["darcy2d"].rollout is None

    def test_a_unet_keeps_the_grid(self) -> None:
        assert UNet(2, 3, 2, 8, periodic=False)(torch.zeros(1, 3, 16, 24)).shape == (1, 2, 16, 24)


class TestResume:
    def test_kept_outcomes_are_not_trained_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kept = tmp_path / "kept.jsonl"
        trial = Trial(Kind.PEER, ("darcy2d",), 5.0, 0, fno(8))
        outcome = Outcome(5.1, 40, 1000, {"full/test": {"darcy2d": Score(0.3, None)}})
        runner = Runner({}, Progress(10.0), jobs=1, kept=kept)
        runner.keep(trial, outcome)
        with kept.open("a", encoding="utf-8") as file:
            file.write('{"trial": "torn')
        monkeypatch.setattr(multiprocessing, "get_context", None)  # no child may be started

        again = Runner({}, Progress(10.0), jobs=1, kept=kept).run([trial])

        assert again == {trial: outcome}
        assert "50%" in capsys.readouterr().out
