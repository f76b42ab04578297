"""Rollouts as pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remote.rollout_picture import draw


def a_rollout(path: Path, shape: tuple[int, ...], **more: Any) -> Path:
    true = np.random.default_rng(0).normal(size=shape)
    meta = np.array(json.dumps({"task": "t", "step": 7, "fields": ["u", "v"]}))
    arrays = {"true": true, "pred": true + 0.1, "meta": meta, **more}
    np.savez(path, **{n: v.astype(np.float16) if v.dtype == np.float64 else v for n, v in arrays.items()})
    return path


@pytest.mark.parametrize(
    "shape",
    [(6, 32, 1), (1, 32, 32, 1), (9, 16, 24, 2), (3, 8, 8, 8, 5), (200, 128, 1)],
    ids=["1-D", "static 2-D", "2-D", "3-D", "long"],
)
def test_every_grid_is_drawn(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture, caption = draw(a_rollout(tmp_path / "r.npz", shape))
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 64
    assert max(picture.shape[:2]) < 3000
    assert caption == "t, step 7: u, v; true, predicted, error"


def test_points_are_drawn_where_they_are(tmp_path: Path) -> None:
    positions = np.random.default_rng(1).uniform(size=(4, 300, 2))
    picture, _ = draw(a_rollout(tmp_path / "r.npz", (4, 300, 1), positions=positions))
    assert picture.std() > 0


def test_what_is_right_has_the_colours_of_what_is_true(tmp_path: Path) -> None:
    frames = np.linspace(0, 1, 64).reshape(2, 32, 1)
    picture, _ = draw(a_rollout(tmp_path / "r.npz", (2, 32, 1), true=frames, pred=frames))
    true, predicted, error = (picture[start : start + 128] for start in (0, 132, 264))
    assert (true == predicted).all()
    assert (error == error[0, 0]).all()


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        draw(tmp_path / "r.npz")
    (tmp_path / "r.npz").write_bytes(b"torn")
    with pytest.raises(ValueError):
        draw(tmp_path / "r.npz")
