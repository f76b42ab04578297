"""The log as one uses it: keys pressed, cells read."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from console.tui.theme import THEMES
from console.tui.widgets.log import LogView
from tests.console.tui.conftest import cells, seen, until, until_seen

_LINES = [f"10:00:{n % 60:02d}  step {n} went well" for n in range(400)]
for _n in (50, 120, 300):
    _LINES[_n] = f"10:00:00  error: step {_n} went badly"
_LINES[200] = "10:00:00  warning: step 200 was slow"

Pressed = Callable[..., object]


class Logged(App[None]):
    def __init__(self, paths: list[Path]) -> None:
        super().__init__()
        self.paths = paths

    def compose(self) -> ComposeResult:
        yield LogView(id="log")

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        view = self.query_one(LogView)
        view.open(lambda: self.paths)
        view.focus()


@asynccontextmanager
async def shown(
    path: Path, *, size: tuple[int, int] = (100, 12)
) -> AsyncIterator[tuple[Pilot[None], LogView]]:
    app = Logged([path])
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield pilot, app.query_one(LogView)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.log"
    path.write_text("\n".join(_LINES) + "\n")
    return path


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(line + "\n" for line in lines)


async def type_in(pilot: Pilot[None], sign: str, text: str) -> None:
    await pilot.press(sign, *text, "enter")


async def test_it_opens_at_its_end_and_follows(path: Path) -> None:
    async with shown(path) as (pilot, view):
        await until_seen(pilot, "step 399", "following", "400 lines")
        append(path, "something new")
        view.look()
        await until_seen(pilot, "something new", "401 lines")


async def test_scrolling_up_lets_go_and_says_what_is_new_below(path: Path) -> None:
    async with shown(path) as (pilot, view):
        await until_seen(pilot, "400 lines")
        await pilot.press("up")
        await until_seen(pilot, "paused", "line 390 of 400")
        before = cells(pilot.app)[1:-1]
        append(path, "new 1", "new 2")
        view.look()
        await until_seen(pilot, "paused, 2 new below")
        assert cells(pilot.app)[1:-1] == before
        await pilot.press("end")
        await until_seen(pilot, "new 2", "following")


async def test_scrolling_down_to_the_end_follows_again(path: Path) -> None:
    async with shown(path) as (pilot, view):
        await pilot.press("pageup", "up", "k")
        assert not view.following
        await pilot.press("j", "down")
        assert not view.following
        await pilot.press("pagedown")
        await until_seen(pilot, "following")


async def test_home_and_a_number_go_there(path: Path) -> None:
    async with shown(path) as (pilot, _):
        await pilot.press("g")
        await until_seen(pilot, "step 0 ", "line 1 of 400")
        await type_in(pilot, ":", "100")
        await until_seen(pilot, "line 100 of 400", "step 99 ")
        await type_in(pilot, ":", "9999")
        await until_seen(pilot, "step 399", "following")


async def test_a_search_goes_up_from_the_end_and_n_on(path: Path) -> None:
    async with shown(path) as (pilot, _):
        await type_in(pilot, "/", "STEP 2.0 ")
        await until_seen(pilot, "not found")
        await type_in(pilot, "/", "step 2.0 ")
        await until_seen(pilot, "▸10:00:50  step 290", "10 of 10 found", "paused")
        await pilot.press("N")
        await until_seen(pilot, "▸10:00:40  step 280", "9 of 10 found")
        await pilot.press("n", "n")
        await until_seen(pilot, "▸10:00:00  warning: step 200", "1 of 10 found")
        await pilot.press("escape")
        await until(pilot, lambda: "found" not in seen(pilot.app))


async def test_a_filter_shows_only_what_matches_and_search_goes_on_in_it(path: Path) -> None:
    async with shown(path) as (pilot, view):
        await type_in(pilot, "&", "step 3.0 ")
        screen = await until_seen(pilot, "only &step 3.0", "10 lines", "step 390", "error: step 300")
        assert "step 391" not in screen
        append(path, "10:00:00  step 3x0 came later", "10:00:00  another")
        view.look()
        await until_seen(pilot, "step 3x0 came later", "11 lines")
        await type_in(pilot, "/", "badly")
        await until_seen(pilot, "1 of 1 found", "▸10:00:00  error: step 300")
        await pilot.press("escape", "escape")
        await until_seen(pilot, "step 301 ", "of 402")


async def test_levels(path: Path) -> None:
    async with shown(path) as (pilot, _):
        await pilot.press("L")
        await until_seen(pilot, "only warnings", "4 lines", "was slow")
        await pilot.press("L")
        screen = await until_seen(pilot, "only errors", "3 lines")
        assert "was slow" not in screen
        await pilot.press("L")
        await until_seen(pilot, "400 lines", "step 399")


async def test_e_goes_from_error_to_error(path: Path) -> None:
    async with shown(path) as (pilot, _):
        await pilot.press("e")
        await until_seen(pilot, "▸10:00:00  error: step 300", "errors  3 of 3 found")
        await pilot.press("E")
        await until_seen(pilot, "▸10:00:00  error: step 120")
        await pilot.press("e", "e")
        await until_seen(pilot, "▸10:00:00  error: step 50 ")


async def test_an_events_message_is_found_in_the_log(path: Path) -> None:
    async with shown(path) as (pilot, view):
        view.show_text("step 120 went badly")
        await until_seen(pilot, "▸10:00:00  error: step 120")


async def test_long_lines_are_cut_moved_or_broken(path: Path) -> None:
    append(path, "begins " + "x" * 150 + " ends")
    async with shown(path) as (pilot, _):
        screen = await until_seen(pilot, "begins")
        assert "ends" not in screen
        await pilot.press("right", "right", "right", "right", "right")
        await until_seen(pilot, "x ends")
        await pilot.press("left", "left", "left", "left", "left", "w")
        await until_seen(pilot, "begins", "xx ends")


async def test_keys_typed_into_the_prompt_are_text(path: Path) -> None:
    async with shown(path) as (pilot, view):
        await pilot.press("/", "g", "n", "w", "x", "backspace")
        await until_seen(pilot, "/gnw▏")
        await pilot.press("escape")
        assert (view.following, view.reader.searched) == (True, "")


async def test_a_pattern_that_might_never_end_is_refused(path: Path) -> None:
    async with shown(path) as (pilot, view):
        await type_in(pilot, "/", "(s+t*)+x")
        await until_seen(pilot, "a repeat within a repeat could take for ever: (s+t*)+")
        assert view.reader.goal is None
        await type_in(pilot, "&", "((ab*c)d){2,}")
        await until_seen(pilot, "could take for ever", "400 lines")
        await type_in(pilot, "/", "(step) 39+8")
        await until_seen(pilot, "1 of 1 found")


async def test_a_truncated_log_starts_anew(path: Path) -> None:
    async with shown(path) as (pilot, view):
        await until_seen(pilot, "step 399")
        await pilot.press("up")
        path.write_text("another beginning\n")
        view.look()
        await until_seen(pilot, "another beginning", "1 line ", "following")


async def test_a_gigantic_line_is_clipped_and_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"before\n" + b"".join(b"\r%7d %%" % n for n in range(1_000_000)) + b"\nafter\n")
    async with shown(path) as (pilot, _):
        await until_seen(pilot, "before", "[the end of a line of 10 MB]  999999 %", "after", "3 lines")


async def test_nothing_in_a_log_is_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(
        "\x1b[91;102mbright\x1b[m \x1b]0;own\x07\x1b[2J\x1b[31mred\x1b[m \u202egpj\u202c 漢 \x07|\n".encode()
    )
    async with shown(path) as (pilot, _):
        await until_seen(pilot, "bright red <U+202E>gpj<U+202C> 漢 ^G|")


@pytest.mark.parametrize("size", [(20, 5), (4, 2), (300, 90)])
async def test_any_size_will_do(path: Path, size: tuple[int, int]) -> None:
    async with shown(path, size=size) as (pilot, view):
        await pilot.press("up", "w", "pageup", "home", "right", "end", "/", "a", "enter", "n")
        assert view.is_attached


async def test_what_arrives_in_one_go_is_typed_whole(path: Path) -> None:
    async with shown(path) as (pilot, view):
        for key in ("slash", *"slow", "enter"):  # as over a slow connection
            pilot.app.post_message(events.Key(key, "/" if key == "slash" else key))
        await until_seen(pilot, "/slow", "1 of 1 found")
        assert view.reader.searched == "slow"


async def test_a_large_log_is_counted_searched_and_filtered_in_the_background(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    lines = [f"10:00:00  step {n} of a run that says much and always the same thing" for n in range(60_000)]
    lines[70] = "10:00:00  the needle"
    path.write_text("\n".join(lines) + "\n")
    async with shown(path) as (pilot, view):
        await until_seen(pilot, "step 59999", "60,000 lines")
        await type_in(pilot, "/", "needle")
        await until_seen(pilot, "▸10:00:00  the needle", "1 of 1 found", "line 66 of 60,000")
        await type_in(pilot, "/", "step 5\\d*1 ")
        await until_seen(pilot, "▸10:00:00  step 51 of", "1 of 1,111 found")
        await pilot.press("n")
        await until_seen(pilot, "▸10:00:00  step 501 of", "2 of 1,111 found")
        await type_in(pilot, "&", "needle")
        await until_seen(pilot, "only &needle", "not found")
        assert next(line for line in cells(pilot.app)[1:-1] if "10:00" in line).startswith(
            "│ 10:00:00  the needle"
        )
        append(path, "10:00:01  another needle")
        view.look()
        await until_seen(pilot, "another needle")
        await pilot.press("escape", "escape", "end")
        await until_seen(pilot, "step 59999", "following", "60,001 lines")


async def test_another_log_stops_the_counting_of_the_one_before(tmp_path: Path, path: Path) -> None:
    large = tmp_path / "large.log"
    large.write_bytes(b"a line like any other\n" * 400_000)
    async with shown(large) as (pilot, view):
        await type_in(pilot, "/", "nothing")
        view.open(lambda: [path])
        await until_seen(pilot, "step 399", "400 lines")
        await pilot.press("e")
        await until_seen(pilot, "3 of 3 found")
