"""The simulated starts follow from sizes and rates."""

from pathlib import Path

import pytest

from benchmarks.support.transfer import ALL_FILES, ONE_FILE, Rates, Start, markdown, simulated
from ups.config import load_train_config

CONFIGS = Path(__file__).parents[2] / "configs"
RATES = Rates(line=1e9, prepare=1e30, encode=1e30)


def start(config: str, files: dict[str, int], rates: Rates = RATES) -> Start:
    return simulated(load_train_config(CONFIGS / f"train_pdebench_{config}.yaml"), files, rates)


def test_two_tasks_without_a_curriculum_are_needed_at_once() -> None:
    found = start("2task_baseline", ONE_FILE)
    fields = 4 * (10_000 * 201 * 1024 + 2 * 10_000 * 128 * 128) / 1e9
    assert found.first_gb == found.all_gb == pytest.approx(fields)
    assert found.at_once_s == found.first_tasks_s == pytest.approx(fields)
    # the train split, four fifths of it, comes in float16
    assert found.cached_s == pytest.approx(0.2 * fields + 0.4 * fields)


def test_curriculum_begins_with_two_of_five() -> None:
    two, five = start("2task_baseline", ALL_FILES), start("5task_production", ALL_FILES)
    assert five.first_tasks_s == two.first_tasks_s
    assert five.at_once_s > 3 * five.first_tasks_s
    assert five.cached_s < five.first_tasks_s < five.recomputed_s < five.at_once_s


def test_slower_rates_take_longer() -> None:
    slow = start("4task_curriculum", ONE_FILE, Rates(line=1e9, prepare=1e8, encode=1e8))
    fast = start("4task_curriculum", ONE_FILE)
    assert slow.first_tasks_s > fast.first_tasks_s
    assert slow.recomputed_s > fast.recomputed_s + 1
    assert "| 4 tasks | one | " in markdown([("4 tasks", "one", slow)])
