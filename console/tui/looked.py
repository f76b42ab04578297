"""How the app looks and is steered: its theme, ASCII alone, the user's keys, the palette, suspension."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from console.look import Look, remember_theme
from console.tui.attempt import attempt
from console.tui.background import BackgroundApp
from console.tui.theme import THEMES, variable_defaults
from ups.errors import ConfigError

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.filter import LineFilter

    from console.operations import Operations
    from console.tui.drawing.kitty import KittyPictures
    from console.tui.drawing.picture import Paint


def _commands() -> "type[Provider]":
    from console.tui.commands import ConsoleCommands

    return ConsoleCommands


class LookedApp(BackgroundApp):
    """The part of the console that knows of themes and keys."""

    COMMANDS: ClassVar[set[Any]] = {_commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("colon,ctrl+p", "command_palette", "All commands", show=False, id="app.palette"),
        Binding("T", "next_theme", "Next theme", show=False, id="app.theme"),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, id="app.suspend", priority=True),
    ]

    def __init__(self, operations: "Operations | Callable[[], Operations]", look: Look) -> None:
        """Take on a look.

        Raises:
            ConfigError: its theme is none, or its keys are not possible.
        """
        super().__init__(operations)
        self.look = look
        for theme in THEMES:
            self.register_theme(theme)
        # Before the first style is computed: a change of theme later costs a second of them.
        self.set_reactive(App.theme, self._theme_named(look.theme or THEMES[0].name, look.theme_from))
        self.stylesheet.set_variables(self.get_css_variables())
        self._kitty: KittyPictures | None = None
        self._line_filters: Sequence[LineFilter] = ()
        if look.ascii:
            from console.tui.ascii import AsciiFilter

            self._line_filters = (AsciiFilter(),)
        if look.keys:
            from console.tui.keymap import keymap_of

            self.set_keymap(keymap_of(look.keys))

    def get_line_filters(self) -> "Sequence[LineFilter]":
        return [*super().get_line_filters(), *self._line_filters]

    # --- pictures ----------------------------------------------------------------------------

    def picture_painter(self) -> "Paint":
        """What draws pictures in this terminal."""
        if self._kitty is None and self._shows_pixels():
            from console.tui.drawing.kitty import KittyPictures

            self._kitty = KittyPictures(self.send_to_terminal)
        if self._kitty is not None:
            return self._kitty.paint
        from console.tui.drawing.picture import half_blocks

        return half_blocks

    def _shows_pixels(self) -> bool:
        from console.tui.graphics import shows_pixels

        if self.look.ascii or self.look.pictures == "blocks":
            return False
        if self.look.pictures == "kitty":
            return True
        return not (self.is_headless or self.is_web) and shows_pixels(os.environ)

    def send_to_terminal(self, sequence: str) -> None:
        """Write to the terminal what Textual has no words for."""
        if self._driver is not None:
            self._driver.write(sequence)

    def on_unmount(self) -> None:
        if self._kitty is not None:
            self._kitty.remove_all()

    # --- theme ------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults()

    def _theme_named(self, name: str, origin: str) -> str:
        """A theme by its name; ours also without `ups-`."""
        for known in (name, f"ups-{name}"):
            if known in self.available_themes:
                return known
        ours = ", ".join(theme.name for theme in THEMES)
        raise ConfigError(
            f"{origin}: there is no theme {name!r}", hint=f"there are: {ours}; and those of Textual"
        )

    def action_next_theme(self) -> None:
        """Try our themes in turn."""
        names = [theme.name for theme in THEMES]
        here = names.index(self.theme) if self.theme in names else -1
        self.choose_theme(names[(here + 1) % len(names)])

    def choose_theme(self, name: str) -> None:
        """Show a theme and remember it."""
        self.theme = name
        path = self.look.config
        if path is None:
            self.notice(f"theme {name}", ink="good")
            return
        failed = attempt("remembering the theme", lambda: remember_theme(path, name))
        if failed is not None:
            self.post_message(failed)
        else:
            self.notice(f"theme {name}", f"remembered in {path.name}", "good")

    # --- keys -------------------------------------------------------------------------------

    def get_key_display(self, binding: Binding) -> str:
        return "enter" if binding.key == "enter" else super().get_key_display(binding)
