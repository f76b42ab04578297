"""Ticks, charts and pixels of a report."""

import math

import numpy as np
import pytest

from console.reports.axes import linear_ticks, log_ticks, tick_label
from console.reports.chart import draw_task
from console.reports.content import ReportContent
from console.reports.png import encode
from console.reports.rollouts import figures
from console.runs.series import RunView
from tests.console.reports.conftest import PARTICLES, VOLUME


@pytest.mark.parametrize(
    ("low", "high"), [(0.5, 0.62), (0.003, 0.4), (1e-9, 1.0), (1.0, 1.0001), (2e-30, 3e12), (5.0, 9000.0)]
)
def test_a_logarithmic_axis_has_some_round_ticks_within_it(low: float, high: float) -> None:
    ticks = log_ticks(low, high, 4)
    assert 2 <= len(ticks) <= 10
    assert ticks == sorted(ticks)
    assert all(low <= tick <= high for tick in ticks)


def test_a_linear_axis_has_round_ticks() -> None:
    assert linear_ticks(0, 9000, 5) == [0, 2000, 4000, 6000, 8000]
    assert linear_ticks(3, 3, 5) == [3]
    assert [tick_label(value) for value in (0, 0.03, 1000, 1e-7, 3e8)] == ["0", "0.03", "1000", "1e-7", "3e8"]


def test_a_chart_stays_in_its_frame_and_breaks_at_what_is_no_number(content: ReportContent) -> None:
    drawing = draw_task(content.view, "advection1d")
    for line in drawing.lines:
        x, y = line.x[np.isfinite(line.x)], line.y[np.isfinite(line.y)]
        assert (x >= 0).all()
        assert (x <= drawing.width).all()
        assert (y >= 0).all()
        assert (y <= drawing.height).all()
        assert len(line.x) <= 1500
        assert (np.diff(x) >= 0).all()  # also where an attempt began anew
    assert [line.ink for line in drawing.lines].count("mark") == 2  # each stage begins somewhere
    assert [text.content for text in drawing.texts if text.ink == "mark"] == ["operator", "diff_residual"]


def test_a_task_without_points_says_so() -> None:
    assert "no curve was measured" in [text.content for text in draw_task(RunView(), "darcy2d").texts]


def test_a_volume_is_cut_three_times_and_particles_leave_the_ground_clear(content: ReportContent) -> None:
    shown = {rollout.task: rollout.rollout for rollout in content.rollouts}
    volume, particles = shown[VOLUME], shown[PARTICLES]
    assert volume is not None
    assert particles is not None
    picture = figures(volume)[0].columns[1].pictures[0]
    assert picture.shape[:2] == (24, 16 + 1 + 16 + 1 + 20)
    points = figures(particles)[0].columns[1].pictures[0]
    assert 0.2 < (points[..., 3] > 0).mean() < 1
    assert max(points.shape) == 240


def test_prediction_and_truth_share_a_scale_and_a_hole_is_clear(content: ReportContent) -> None:
    (plain,) = (rollout.rollout for rollout in content.rollouts if rollout.task == "advection1d")
    assert plain is not None
    prediction, truth, error = figures(plain)[0].columns
    assert (prediction.bar.low, prediction.bar.high) == (truth.bar.low, truth.bar.high)
    assert error.bar.low == 0
    assert math.isnan(plain.pred[-1].flat[0])
    assert prediction.pictures[0][-1, 0, 3] == 0
    assert (truth.pictures[0][..., 3] == 255).all()


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_holds_the_pixels(channels: int) -> None:
    image = pytest.importorskip("PIL.Image")
    import io

    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    assert (np.asarray(image.open(io.BytesIO(encode(pixels)))) == pixels).all()
