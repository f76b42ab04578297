"""The rollout player's keys."""

import numpy as np
import pytest
from textual.app import App, ComposeResult

from console.tui.drawing.rollout import Rollout
from console.tui.theme import variable_defaults
from console.tui.widgets.rollout import RolloutView
from tests.console.tui.conftest import seen, until


class Player(App[None]):
    def compose(self) -> ComposeResult:
        yield RolloutView()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults()


@pytest.fixture
def rollout() -> Rollout:
    x, y = np.mgrid[0:16, 0:16] / 16
    true = np.stack([np.sin(6 * (x - 0.1 * t)) * y for t in range(5)])[..., None]
    return Rollout("shallow_water2d", 90, "3", ("h",), 0.9 * true, true, 0.05 * np.arange(1, 6), 0.1, 0.4)


async def test_frames_are_scrubbed_played_and_their_error_is_told(rollout: Rollout) -> None:
    async with Player().run_test(size=(100, 24)) as pilot:
        view = pilot.app.query_one(RolloutView)
        view.focus()
        view.show(rollout)
        await pilot.press("right", "right")
        assert view.frame == 2
        await pilot.pause()
        assert "3/5" in seen(pilot.app)
        assert "nRMSE here 0.100" in seen(pilot.app)
        await pilot.press("left", "end")
        assert view.frame == 4
        await pilot.press("home")
        assert view.frame == 0
        await pilot.press("plus", "plus", "plus", "space")
        await until(pilot, lambda: view.frame >= 2)
        assert "24/s" in seen(pilot.app)
        await pilot.press("minus", "space")
        stopped = view.frame
        await pilot.pause(0.2)
        assert view.frame == stopped
        assert "12/s" in seen(pilot.app)


async def test_p_goes_through_the_colour_maps(rollout: Rollout) -> None:
    async with Player().run_test(size=(100, 24)) as pilot:
        view = pilot.app.query_one(RolloutView)
        view.focus()
        view.show(rollout)
        await pilot.pause()

        def inks() -> set[object]:
            return {span[1] for row in view.draw(98, 20) for span in row if isinstance(span[1], tuple)}

        usual = inks()
        await pilot.press("p")
        await pilot.pause()
        assert "diverging" in seen(pilot.app)
        assert inks() != usual
        await pilot.press("p", "p")
        assert inks() == usual
