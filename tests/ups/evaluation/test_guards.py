"""Guards say what the training data say, and no more."""

from pathlib import Path

import numpy as np
import torch

from tests.ups.converted import write_advection, write_converted, write_darcy
from ups.config import Guards as GuardsConfig
from ups.data.fields import Fields
from ups.data.survey import survey
from ups.evaluation.guards import Guards, calibrate


def test_advection_conserves_its_mean_and_stays_in_its_widened_range(tmp_path: Path) -> None:
    fields = Fields.open(write_advection(tmp_path)["train"])
    guards = calibrate(survey(fields), GuardsConfig())
    assert fields.states is not None
    low, high = fields.states.min(), fields.states.max()
    assert guards.conserved == (1.0,)
    assert low - 0.2 * (high - low) < guards.low[0] < low
    state = torch.from_numpy(np.array(fields.states[:, 0]))
    wild = torch.full_like(state, 1e6)
    wild[:, ::2] = -1e6
    guarded = guards.apply(wild, state)
    assert guarded.min() >= guards.low[0]
    assert guarded.max() <= guards.high[0]
    torch.testing.assert_close(guards.apply(state.roll(3, 1) + 0.1, state).mean(dim=1), state.mean(dim=1))


def test_mean_that_drifts_is_not_restored(tmp_path: Path) -> None:
    states = np.random.default_rng(0).normal(size=(4, 6, 16, 1)) + 0.1 * np.arange(6)[None, :, None, None]
    path = write_converted(
        tmp_path / "a.h5", "burgers1d", "train", {"states": states}, np.ones((4, 1)), dt=0.1
    )
    assert calibrate(survey(Fields.open(path)), GuardsConfig()).conserved == ()


def test_what_is_switched_off_is_off(tmp_path: Path) -> None:
    found = survey(Fields.open(write_advection(tmp_path)["train"]))
    assert calibrate(found, GuardsConfig(conserve=False, clamp=False)) == Guards()


def test_static_task_is_only_clamped(tmp_path: Path) -> None:
    guards = calibrate(survey(Fields.open(write_darcy(tmp_path)["train"])), GuardsConfig())
    assert guards.conserved == ()
    assert len(guards.low) == 1


def test_guards_survive_json() -> None:
    guards = Guards((1.0, 0.0), (-1.0, -2.0), (1.0, 2.0))
    assert Guards.from_json(guards.to_json()) == guards
