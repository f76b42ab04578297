import json
from pathlib import Path

import numpy as np
import pytest

from console.tui.drawing.rollout import (
    Rollout,
    Scales,
    colour_range,
    draw_frame,
    frame_nrmse,
    plane,
    read_rollout,
    scales,
)
from console.tui.drawing.text import Row
from tests.console.tui.conftest import write_rollout


def rollout(pred: np.ndarray, true: np.ndarray, task: str = "darcy2d") -> Rollout:
    return Rollout(task, 10, "3", ("u",), pred, true, np.arange(len(pred), dtype=float))


def text_of(rows: list[Row]) -> str:
    return "\n".join("".join(text for text, _ in row) for row in rows)


def test_a_diverging_map_lies_evenly_about_zero_where_the_field_has_both_signs() -> None:
    assert colour_range(Scales(-1.0, 3.0, 1.0), "diverging") == (-3.0, 3.0)
    assert colour_range(Scales(2.0, 3.0, 1.0), "diverging") == (2.0, 3.0)
    assert colour_range(Scales(-1.0, 3.0, 1.0), "field") == (-1.0, 3.0)


def test_a_file_is_read_with_its_event(tmp_path: Path) -> None:
    nrmse = write_rollout(tmp_path / "r.npz", "advection1d", 90)
    read = read_rollout(tmp_path / "r.npz", {"nrmse": nrmse, "persistence": 0.7})
    assert (read.task, read.step, read.sample, read.num_frames) == ("advection1d", 90, "3", 5)
    assert read.times[0] == pytest.approx(0.05)
    assert frame_nrmse(read, 0) == pytest.approx(0.1, rel=0.01)


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", pred=np.zeros((1, 4, 1)), true=np.zeros((2, 4, 1)), meta=json.dumps({}))
    with pytest.raises(ValueError, match="no rollout"):
        read_rollout(tmp_path / "r.npz", {})


def test_pickled_content_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", pred=np.array([{}], dtype=object), true=np.zeros((1, 4, 1)))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_rollout(tmp_path / "r.npz", {})


def test_the_scale_is_the_truths_over_all_frames_and_the_error_is_told() -> None:
    true = np.zeros((2, 8, 8, 1))
    true[1] = 1.0
    true[1, 0] = 0.0
    view = rollout(true + 0.011, true)
    assert (scales(view, 0).low, scales(view, 0).high) == (0.0, 1.0)
    assert scales(view, 0).factor == 50
    for frame in (0, 1):
        assert "|error| × 50" in text_of(draw_frame(view, frame, 0, 60, 10))


def test_a_diverged_prediction_does_not_break_the_picture() -> None:
    true = np.random.default_rng(0).random((1, 8, 8, 1))
    pred = true.copy()
    pred[0, 0] = np.inf
    pred[0, 1] = np.nan
    assert "prediction" in text_of(draw_frame(rollout(pred, true), 0, 0, 60, 10))


def test_three_pictures_stand_side_by_side_within_the_width() -> None:
    true = np.random.default_rng(0).random((1, 32, 32, 1))
    rows = draw_frame(rollout(true, true), 0, 0, 76, 12)
    assert "prediction" in text_of(rows)
    assert all(sum(len(text) for text, _ in row) <= 80 for row in rows)
    assert text_of(rows).count("▀") >= 3 * 11 * 20


def test_one_dimension_is_drawn_as_lines_over_one_another(tmp_path: Path) -> None:
    write_rollout(tmp_path / "r.npz", "advection1d", 90)
    view = read_rollout(tmp_path / "r.npz", {})
    rows = draw_frame(view, 2, 0, 60, 12)
    inks = {ink for row in rows for _, ink in row}
    assert {"task:advection1d", "val", "warn"} <= inks
    assert "truth" in text_of(rows)


def test_slices_of_a_volume_stand_side_by_side() -> None:
    assert plane(np.zeros((3, 8, 8))).shape == (8, 24)
    assert plane(np.zeros((32, 8, 8))).shape == (8, 8)
