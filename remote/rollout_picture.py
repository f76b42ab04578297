"""A rollout file as a picture: what is true, what was predicted, and the error, drawn with numpy alone."""

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""[height, width, 3]."""
Floats = NDArray[np.float64]

_MOST_FRAMES = 5
_MOST_FIELDS = 4
_SIDE = 128
"""Pixels of a panel's shorter side, about."""
_GAP = 4
_COLOURS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float64)
_ERROR_COLOURS = np.array(
    [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64
)
_BACKGROUND = 255


def draw(path: Path) -> tuple[Picture, str]:
    """The picture of a `rollouts/*.npz`, and a caption.

    Rows: true, predicted and the error of each field. In one dimension a panel is position × time, else there
    is a panel for each of some frames; three dimensions are cut in the middle.

    Raises:
        OSError, ValueError, KeyError: the file is none.
    """
    with np.load(path, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
        true, predicted = (np.nan_to_num(file[name].astype(np.float64)) for name in ("true", "pred"))
        where = file["positions"].astype(np.float64) if "positions" in file.files else None
    names = list(meta.get("fields") or [])[:_MOST_FIELDS]
    fields = range(min(true.shape[-1], _MOST_FIELDS))
    rows = [row for field in fields for row in _rows(true[..., field], predicted[..., field], where)]
    caption = f"{meta.get('task')}, step {meta.get('step')}: {', '.join(names)}; true, predicted, error"
    return _stacked(rows), caption


def _rows(true: Floats, predicted: Floats, where: Floats | None) -> list[Picture]:
    """Three rows of panels of one field [F, …]."""
    low, high = float(true.min()), float(true.max())
    error = np.abs(predicted - true)
    largest = float(error.max())
    return [
        _row(true, where, _COLOURS, low, high),
        _row(predicted, where, _COLOURS, low, high),
        _row(error, where, _ERROR_COLOURS, 0.0, largest),
    ]


def _row(frames: Floats, where: Floats | None, colours: Floats, low: float, high: float) -> Picture:
    if where is None and frames.ndim == 2:
        return _grown(_coloured(frames, colours, low, high))
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(_MOST_FRAMES, len(frames))).astype(int))
    panels = []
    for number in chosen:
        if where is not None:
            frame = _scattered(frames[number], where[min(number, len(where) - 1)])
        else:
            frame = frames[number]
            while frame.ndim > 2:
                frame = frame[..., frame.shape[-1] // 2]
        panels.append(_grown(_coloured(frame, colours, low, high)))
    gap = np.full((panels[0].shape[0], _GAP, 3), _BACKGROUND, np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def _scattered(values: Floats, positions: Floats) -> Floats:
    """Points as the cells that they lie in; cells without one are NaN."""
    places = positions[:, :2] if positions.shape[1] > 1 else np.repeat(positions, 2, axis=1)
    low, high = places.min(axis=0), places.max(axis=0)
    side = max(8, min(_SIDE, math.isqrt(len(values))))
    cells = ((places - low) / np.where(high > low, high - low, 1.0) * (side - 1)).round().astype(int)
    sums, counts = np.zeros((side, side)), np.zeros((side, side))
    np.add.at(sums, (cells[:, 0], cells[:, 1]), values)
    np.add.at(counts, (cells[:, 0], cells[:, 1]), 1.0)
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)


def _coloured(values: Floats, colours: Floats, low: float, high: float) -> Picture:
    share = np.clip((values - low) / (high - low if high > low else 1.0), 0.0, 1.0)
    known = np.linspace(0.0, 1.0, len(colours))
    painted = np.stack([np.interp(np.nan_to_num(share), known, colours[:, part]) for part in range(3)], -1)
    painted[np.isnan(share)] = _BACKGROUND
    return painted.round().astype(np.uint8)


def _grown(picture: Picture) -> Picture:
    """Each side to about `_SIDE` pixels, by whole factors."""
    height, width = (max(1, round(_SIDE / side)) for side in picture.shape[:2])
    return picture.repeat(height, axis=0).repeat(width, axis=1)


def _stacked(rows: list[Picture]) -> Picture:
    width = max(row.shape[1] for row in rows)
    parts = []
    for row in rows:
        padding = ((0, _GAP), (0, width - row.shape[1]), (0, 0))
        parts.append(np.pad(row, padding, constant_values=_BACKGROUND))
    return np.concatenate(parts)[:-_GAP]
