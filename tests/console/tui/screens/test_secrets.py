"""No key is ever on the terminal, whatever a user looks at."""

from collections.abc import Iterator

import pytest
from textual.app import App

from console.home import Home
from console.operations import Operations
from console.tui.app import UpsConsole
from tests.console.tui.conftest import until, until_seen
from tests.simulators.vast import VastSimulator
from tests.simulators.vultr import VultrSimulator

pytestmark = pytest.mark.needs_module("vastai")
STORE_KEY = "K004-this-is-the-key-of-the-bucket"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Accounts at two providers on loopback, and a key to a bucket."""
    with VastSimulator() as vast, VultrSimulator() as vultr:
        monkeypatch.setenv("VAST_API_KEY", vast.api_key)
        monkeypatch.setenv("VAST_URL", vast.url)
        monkeypatch.setenv("VULTR_API_KEY", vultr.api_key)
        monkeypatch.setenv("VULTR_URL", vultr.url)
        monkeypatch.setenv("B2_APP_KEY", STORE_KEY)
        yield [vast.api_key, vultr.api_key, STORE_KEY]


async def test_no_key_is_on_any_screen_page_or_picture(home: Home, secrets: list[str]) -> None:
    pictures: list[str] = []

    def take(app: App[None]) -> None:
        pictures.append(app.export_screenshot())

    app = UpsConsole(Operations(home))
    async with app.run_test(size=(200, 60)) as pilot:
        await until_seen(pilot, "RTX 4090", "A40")
        take(app)
        app.screen.query_one("#offers").focus()
        await pilot.press("down", "down")
        await until_seen(pilot, "key accepted")
        take(app)
        for key in ("w", "escape", "d", "escape", "question_mark", "escape", "3", "r", "2", "4", "5"):
            await pilot.press(key)
            await pilot.pause(0.2)
            take(app)
        await until(pilot, lambda: len(app.screen_stack) == 2)
    assert len(pictures) == 13
    for secret in secrets:
        assert not any(secret in picture for picture in pictures)
