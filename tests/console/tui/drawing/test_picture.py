import numpy as np
import pytest

from console.tui.drawing.picture import _to_oklab, colour_table, half_blocks, picture_size, resample


@pytest.mark.parametrize("name", ["field", "error", "grey"])
def test_lightness_rises_evenly(name: str) -> None:
    table = colour_table(name)
    rgb = np.stack([table >> 16 & 255, table >> 8 & 255, table & 255], axis=1) / 255
    lightness = _to_oklab(rgb)[:, 0]
    steps = np.diff(lightness[::8])
    assert (steps > 0).all()
    assert steps.max() / steps.mean() < 1.25


def test_equal_steps_of_the_diverging_map_look_equal_and_its_middle_is_lightest() -> None:
    table = colour_table("diverging", 257)
    rgb = np.stack([table >> 16 & 255, table >> 8 & 255, table & 255], axis=1) / 255
    lab = _to_oklab(rgb)
    steps = np.linalg.norm(np.diff(lab[::8], axis=0), axis=1)
    assert steps.max() / steps.min() < 1.25
    assert lab[:, 0].argmax() == 128
    assert np.abs(lab[:, 0] - lab[::-1, 0]).max() < 0.02
    assert lab[0, 2] < -0.05 < 0.05 < lab[-1, 1]  # blue below, red above


def test_shrinking_keeps_the_mean() -> None:
    field = np.random.default_rng(0).standard_normal((37, 53))
    small = resample(field, 10, 14)
    assert small.shape == (10, 14)
    assert small.mean() == pytest.approx(field.mean(), abs=1e-9)


def test_enlarging_repeats_cells() -> None:
    assert resample(np.array([[1.0, 2.0]]), 2, 4).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_pixels_are_square() -> None:
    assert picture_size((64, 64), 40, 30) == (40, 20)
    assert picture_size((64, 64), 40, 10) == (20, 10)


def test_a_field_is_drawn_two_pixels_a_cell_with_first_axis_down() -> None:
    table = colour_table("field")
    low, high = int(table[0]), int(table[-1])
    rows = half_blocks(np.array([[0.0, 1.0], [1.0, 1.0]]), 2, 1, 0.0, 1.0, table)
    assert rows == [[("▀", (low, high)), ("▀", (high, high))]]


def test_nan_and_a_constant_field_are_no_error() -> None:
    table = colour_table("error")
    field = np.full((4, 4), np.nan)
    assert half_blocks(field, 4, 2, 0.0, 0.0, table)
