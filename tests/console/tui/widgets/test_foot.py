"""The bottom of every screen."""

from console.tui.drawing.text import Row
from console.tui.widgets.foot import WorkBar
from tests.console.tui.conftest import cells, until
from tests.console.tui.widgets.test_panels import Stage


def text(rows: list[Row]) -> str:
    return "".join(piece for piece, _ in rows[0])


class TestWorkBar:
    async def test_counts_bytes_in_their_unit_and_says_how_long_it_takes(self) -> None:
        now = [100.0]
        bar = WorkBar(clock=lambda: now[0])
        async with Stage(bar).run_test(size=(100, 4)) as pilot:
            bar.show("fetching darcy2d, kB", 0, 2_000)
            now[0] += 4.0
            bar.show("fetching darcy2d, kB", 500, 2_000)
            await until(pilot, lambda: "fetching darcy2d" in cells(pilot.app)[0])
            shown = text(bar.draw(100, 1))
            assert "fetching darcy2d  ━" in shown
            assert "500 kB/2.0 MB  125 kB/s  0:12 left" in shown

    async def test_counts_samples_as_they_are(self) -> None:
        bar = WorkBar()
        async with Stage(bar).run_test(size=(100, 4)) as pilot:
            bar.show("making darcy2d", 512, 1_024)
            await until(pilot, lambda: "512/1,024" in cells(pilot.app)[0])
            bar.show("")
            assert not bar.display
