"""How the whole console looks and is steered: ASCII alone, themes, keys, the palette, sizes."""

import socket
import tomllib
from pathlib import Path

import pytest
from rich.style import Style
from textual.command import CommandPalette

from console.home import Home
from console.look import KeyChange, Look, read_look
from console.operations import Operations
from console.runs import webhook
from console.runs.alerts import Alert, AlertKind
from console.tui.app import SCREEN_CLASSES, UpsConsole
from console.tui.attention import call
from console.tui.keymap import Bound, all_bindings, keymap_of
from console.tui.theme import THEMES
from tests.console.tui.conftest import FakeOperations, cells, instance, record_run, seen, until, until_seen
from ups.errors import ConfigError

SIZE = (120, 40)
_FORBIDDEN = ("ctrl+a", "ctrl+b", "ctrl+j", "ctrl+o", "ctrl+s")
"""Prefixes of tmux and screen, what a terminal takes for enter, and what stops its output."""


def recorded(home: Home, **options: object) -> FakeOperations:
    record_run(home, "1124-aaaa", report=True)
    return FakeOperations(home, rows=[instance()])


def told(operations: FakeOperations) -> None:
    operations.ended = True


# --- ASCII ------------------------------------------------------------------------------------


async def test_no_character_beyond_ascii_reaches_the_screen(home: Home) -> None:
    operations = recorded(home)
    app = UpsConsole(operations, Look(ascii=True))
    async with app.run_test(size=SIZE) as pilot:
        for number, name in enumerate(SCREEN_CLASSES, 1):
            await pilot.press(str(number))
            await until(pilot, lambda number=number: app.screen.NAME.lower() in seen(app).lower())  # type: ignore[attr-defined]
            if name == "live":
                await until_seen(pilot, "advection1d", "epoch 39 went well", "nRMSE")
            await pilot.pause(0.3)
            assert seen(app).isascii(), [line for line in cells(app) if not line.isascii()]
            assert {len(strip.text) for strip in app.screen._compositor.render_strips()} == {SIZE[0]}
        for key in ("?", "escape", ":"):
            await pilot.press(key)
            await pilot.pause(0.3)
            assert seen(app).isascii(), [line for line in cells(app) if not line.isascii()]
        told(operations)


async def test_charts_and_pictures_are_still_there_in_ascii(home: Home) -> None:
    operations = recorded(home)
    app = UpsConsole(operations, Look(ascii=True))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        screen = await until_seen(pilot, "advection1d", "nRMSE")
        assert "*" in screen
        assert any(ramp in screen for ramp in ("%%", "##", "++", "=="))
        told(operations)


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "sent"), [("auto", False), ("blocks", False), ("kitty", True)])
async def test_pictures_are_drawn_as_config_toml_asks(
    home: Home, asked: str, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM_PROGRAM", "ghostty")  # which a console without a terminal does not believe
    operations = recorded(home)
    home.config.write_text(f'pictures = "{asked}"\n')
    async with UpsConsole(operations, read_look(home.config)).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "nRMSE here")
        if "darcy2d  step" not in seen(pilot.app):
            await pilot.press("r")
        await until_seen(pilot, "darcy2d  step")
        assert ("\U0010eeee" in seen(pilot.app)) == sent
        told(operations)


def test_pictures_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('pictures = "sixel"\n')
    with pytest.raises(ConfigError, match="pictures must be one of auto, blocks, kitty, not 'sixel'"):
        read_look(path)


# --- themes -----------------------------------------------------------------------------------


async def test_a_theme_is_chosen_with_a_key_and_remembered(home: Home) -> None:
    home.root.mkdir(parents=True)
    home.config.write_text("# mine\n[caps]\nusd_per_day = 3 # little\n")
    home.config.chmod(0o640)
    app = UpsConsole(Operations(home), read_look(home.config))
    async with app.run_test(size=SIZE) as pilot:
        await until_seen(pilot, "local_2task")
        await pilot.press("T")
        await until_seen(pilot, "theme ups-light", "remembered in config.toml")
        assert app.theme == "ups-light"
    assert home.config.read_text() == 'theme = "ups-light"\n# mine\n[caps]\nusd_per_day = 3 # little\n'
    assert home.config.stat().st_mode & 0o777 == 0o640
    assert UpsConsole(Operations(home), read_look(home.config)).theme == "ups-light"


def test_the_command_line_goes_before_the_file(home: Home) -> None:
    look = Look(theme="ups-light").over(theme="colourblind")
    assert UpsConsole(Operations(home), look).theme == "ups-colourblind"
    with pytest.raises(ConfigError, match="there is no theme 'plaid'") as caught:
        UpsConsole(Operations(home), Look(theme="plaid"))
    assert all(theme.name in caught.value.hint for theme in THEMES)


async def test_no_color_leaves_no_colour_on_the_screen(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    operations = recorded(home)
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "advection1d", "nRMSE")
        styles = {s.style for strip in app.screen._compositor.render_strips() for s in strip if s.style}
        assert [style for style in styles if not _is_grey(style)] == []
        told(operations)


def _is_grey(style: Style) -> bool:
    colours = [c.get_truecolor() for c in (style.color, style.bgcolor) if c is not None]
    return all(max(c) - min(c) <= 1 for c in colours)


# --- keys -------------------------------------------------------------------------------------

BINDINGS = all_bindings()


@pytest.mark.parametrize("bound", BINDINGS, ids=lambda bound: f"{bound.owner.__name__}-{bound.name}")
def test_every_binding_can_be_named_is_described_and_no_prefix(bound: Bound) -> None:
    group, _, action = bound.name.partition(".")
    assert group
    assert action
    assert bound.binding.description
    assert not set(bound.keys) & set(_FORBIDDEN)


def test_vim_keys_and_arrows_both_move_wherever_rows_move() -> None:
    pairs = {"up": "k", "down": "j"}
    lists = {bound.owner for bound in BINDINGS if set(bound.keys) & {"j", "k"}}
    assert len(lists) >= 3
    for owner in lists:
        keys: dict[str, set[str]] = {}
        for bound in BINDINGS:
            if bound.owner is owner:
                keys.setdefault(bound.binding.action, set()).update(bound.keys)
        for arrow, vim in pairs.items():
            assert any({arrow, vim} <= found for found in keys.values()), (owner, arrow)


def changes(path: Path, text: str) -> tuple[KeyChange, ...]:
    path.write_text(text)
    return read_look(path).keys


@pytest.mark.parametrize(
    "text",
    [
        '[keys]\nlive.teardown = "ctrl+x"\n',
        '[keys]\n"live.teardown" = "ctrl+x"\n',
        '[keys.live]\nteardown = "ctrl+x"\n',
    ],
)
def test_a_changed_key_may_be_written_in_any_way_of_toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    (change,) = changes(path, text)
    assert change == KeyChange("live.teardown", "ctrl+x", f"{path}:2")
    assert keymap_of([change]) == {"live.teardown": "ctrl+x"}


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ('live.teardwn = "X"', "keys.live.teardwn is no binding's id", "live.teardown"),
        ('live.teardown = "pagedwn"', "'pagedwn' is no key", "pagedown"),
        ('live.teardown = "hyperspace+x"', "'hyperspace+x' is no key", "ctrl+x"),
        ('live.teardown = ""', "'' is no key", "pageup"),
        ('live.teardown = "z"', "z is taken by live.zoom (Zoom)", "another"),
        ('live.teardown = "q"', "q is taken by app.quit (Quit)", "another"),
        ('live.teardown = "j"', "j is taken by", "another"),
        ('app.help = "x"', "x is taken by fleet.teardown", "another"),
        ('checklist.tick = "j"', "j is taken by table.down (Down)", "another"),
        ('live.teardown = 3', "must be keys in quotes", ""),
    ],
)  # fmt: skip
def test_an_impossible_key_is_one_error_with_line_and_neighbours(
    tmp_path: Path, line: str, message: str, hint: str
) -> None:
    path = tmp_path / "config.toml"
    with pytest.raises(ConfigError) as caught:
        keymap_of(changes(path, f"# keys of mine\n[keys]\n{line}\n"))
    assert message in caught.value.message
    assert caught.value.message.startswith(f"{path}:3: ")
    assert hint in caught.value.hint


def test_two_keys_may_change_places(tmp_path: Path) -> None:
    text = '[keys]\nlive.teardown = "z"\nlive.zoom = "x"\n'
    assert keymap_of(changes(tmp_path / "config.toml", text)) == {"live.teardown": "z", "live.zoom": "x"}


async def test_changed_keys_work_and_are_shown_at_the_foot_and_in_the_help(home: Home) -> None:
    home.root.mkdir(parents=True)
    home.config.write_text('[keys]\nlive.teardown = "ctrl+x"\ntable.down = "down,j,ctrl+n"\n')
    operations = recorded(home)
    app = UpsConsole(operations, read_look(home.config))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "^x teardown", "advection1d")
        await pilot.press("x")
        assert not app.teardowns.waiting
        await pilot.press("ctrl+x")
        await until_seen(pilot, "takes it back")
        await pilot.press("u", "?")
        assert "Teardown" in (await until_seen(pilot, "on Live", "^x")).split("^x", 1)[1].split("\n")[0]
        told(operations)


# --- the palette ------------------------------------------------------------------------------


async def test_the_palette_lists_actions_screens_runs_and_themes(home: Home) -> None:
    operations = recorded(home)
    app = UpsConsole(operations)
    async with app.run_test(size=(120, 60)) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "advection1d", "nRMSE")
        await pilot.press(":")
        await until(pilot, lambda: CommandPalette.is_open(app))
        for query, expected in {
            "teardown": "live.teardown",
            "show fleet": "Show Fleet",
            "1124": "Run 1124-aaaa local_2task",
            "contrast": "Theme ups-contrast",
        }.items():
            await pilot.press(*("space" if c == " " else c for c in query))
            await until_seen(pilot, expected)
            await pilot.press(*["backspace"] * len(query))
        await pilot.press(*"contrast")
        await until_seen(pilot, "Theme ups-contrast")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "ups-contrast")
        told(operations)


# --- what is possible now ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (300, 90)])
async def test_the_foot_is_one_line_with_what_is_possible(home: Home, size: tuple[int, int]) -> None:
    operations = recorded(home)
    app = UpsConsole(operations)
    async with app.run_test(size=size) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "x teardown", "z zoom")
        assert cells(app)[-1].lstrip().startswith("x teardown")
        assert cells(app)[-1].rstrip().endswith("? help   q quit")
        told(operations)


async def test_a_key_with_nothing_to_act_on_is_not_offered_but_says_why(home: Home) -> None:
    app = UpsConsole(Operations(home))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "No run yet", "? help")
        assert "teardown" not in cells(app)[-1]
        await pilot.press("x")
        await until_seen(pilot, "there is no run to tear down")


# --- sizes ------------------------------------------------------------------------------------


async def test_every_size_is_survived(home: Home) -> None:
    operations = recorded(home)
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        for key in "12345":
            await pilot.press(key)
            for size in ((20, 5), (1, 1), (300, 90), (60, 16), (80, 24)):
                await pilot.resize_terminal(*size)
                if size == (20, 5):
                    await until_seen(pilot, "needs", "60×16")
            await until_seen(pilot, "ups", "q quit")
        told(operations)


def test_remembering_keeps_a_link_a_link(tmp_path: Path) -> None:
    from console.look import remember_theme

    (tmp_path / "dotfiles").mkdir()
    target = tmp_path / "dotfiles" / "config.toml"
    target.write_text('theme = "a"\nx = 1\n')
    (tmp_path / "config.toml").symlink_to(target)
    remember_theme(tmp_path / "config.toml", "b")
    assert (tmp_path / "config.toml").is_symlink()
    assert tomllib.loads(target.read_text()) == {"theme": "b", "x": 1}


# --- calling the person -----------------------------------------------------------------------


def news(key: str = "run 1124-aaaa 1", kind: AlertKind = AlertKind.FAILURE) -> Alert:
    return Alert(key, kind, "run 1124-aaaa failed", "$0.25 on RTX 4090")


async def test_what_happens_is_said_rung_and_sent_to_the_desktop_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    found = [news("run 1123-old 1")]
    operations = recorded(home)
    monkeypatch.setattr(operations, "alerts", lambda known=(): [a for a in found if a.key not in known])
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app._heard.keys == {"run 1123-old 1"})
        written: list[str] = []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", written.append)
        found.append(news())
        for _ in range(2):
            app.read_money()
            await until_seen(pilot, "run 1124-aaaa failed", "$0.25 on RTX 4090")
            await pilot.pause(0.1)
        rung = [text for text in written if "\a" in text]
        assert rung == ["\x1b]9;ups-console: run 1124-aaaa failed\a\a"]
        told(operations)


def test_tmux_passes_the_notification_on_and_nothing_is_interpreted() -> None:
    assert call("over", tmux=True) == "\x1bPtmux;\x1b\x1b]9;ups-console: over\a\x1b\\\a"
    assert call("a\x1b]0;b\a\u202ec\n", tmux=False) == "\x1b]9;ups-console: a]0;bc\a\a"


async def test_a_webhook_that_refuses_is_one_notice_without_its_secret(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("UPS_WEBHOOK", f"http://127.0.0.1:{port}/s3cret")
    found: list[Alert] = []
    operations = recorded(home)
    monkeypatch.setattr(operations, "alerts", lambda known=(): [a for a in found if a.key not in known])
    monkeypatch.setattr(webhook, "RETRIES", 0)
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app._heard.keys == set() and home.announced.exists())
        operations.announcer.join()
        found.append(news())
        app.read_money()
        screen = await until_seen(pilot, "the ntfy webhook did not take", "refused")
        assert "s3cret" not in screen
        told(operations)
