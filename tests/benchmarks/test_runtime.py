"""The runtime benchmark judges what a training waits for, and what watching it costs."""

from pathlib import Path

import pytest

from benchmarks import runtime
from benchmarks.support import watched_training
from benchmarks.support.watched_training import Epoch
from tests.ups.training.jobs import tiny_config, tiny_datasets
from ups.config import TrainConfig


def epoch(cpu: float, *, watched: bool, mirror: float = 0.0) -> Epoch:
    return Epoch(watched, cpu, cpu, mirror, 0.0, 0.0, 0.0)


def test_a_cost_within_the_bar_holds_and_one_beyond_it_does_not() -> None:
    for mirror, holds in ((0.05, True), (0.5, False)):
        epochs = [epoch(10.0, watched=True, mirror=mirror), epoch(10.0, watched=False)] * 5
        parts, pairs = runtime.watched_rows(epochs, judged=True)
        assert parts.holds is holds
        assert parts.ours == pytest.approx(mirror / 10)
        assert pairs.holds is holds
        assert pairs.ours == pytest.approx(10 / (10 + mirror))


def test_pairs_that_disagree_are_not_judged() -> None:
    epochs = [
        epoch(10.0, watched=True), epoch(10.0, watched=False), epoch(8.0, watched=False),
        epoch(10.0, watched=True),
    ] * 3  # fmt: skip
    *_, pairs = runtime.watched_rows(epochs, judged=True)
    assert pairs.holds is None


def test_the_baseline_has_its_real_size() -> None:
    config = runtime.baseline(runtime.QUICK)
    assert (config.operator.pdet.hidden_dim, config.operator.pdet.depth) == (384, 12)
    assert config.training.ema_decay is not None


def test_every_other_epoch_is_watched_and_mirrored(tmp_path: Path) -> None:
    content = tiny_config().model_dump()
    content["stages"]["operator"]["epochs"] = 4
    config = TrainConfig.model_validate(content)
    epochs = watched_training.run(config, tiny_datasets(tmp_path), tmp_path)
    assert [epoch.watched for epoch in epochs] == [True, False, False]
    assert epochs[0].mirror > 0 < epochs[0].journal
    assert epochs[1].journal == epochs[1].telemetry == 0
    assert (tmp_path / "copy" / "events.jsonl").stat().st_size > 0
