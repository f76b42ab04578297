"""The command palette: what can be done here, every screen, every run, every theme.

Imported when the palette is opened for the first time; the runs are read in a thread meanwhile.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider

from console.tui.attempt import attempt
from console.tui.messages import RunsRead
from console.tui.theme import THEMES

if TYPE_CHECKING:
    from console.operations import RunRow
    from console.tui.app import UpsConsole


@dataclass(frozen=True, slots=True)
class Command:
    """A line of the palette."""

    text: str
    help: str
    act: Callable[[], object]


class ConsoleCommands(Provider):
    """All that the console can do from where it is."""

    _runs: "Sequence[RunRow]" = ()

    @property
    def ups(self) -> "UpsConsole":
        """The app, by its own type."""
        from console.tui.app import UpsConsole

        assert isinstance(self.app, UpsConsole)
        return self.app

    async def startup(self) -> None:
        read = self.ups.operations.runs
        found = await asyncio.to_thread(attempt, "reading the runs", lambda: RunsRead(read()))
        self._runs = found.runs if isinstance(found, RunsRead) else ()

    async def discover(self) -> Hits:
        for command in self._commands():
            yield DiscoveryHit(command.text, command.act, help=command.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in self._commands():
            score = matcher.match(command.text)
            if score > 0:
                yield Hit(score, matcher.highlight(command.text), command.act, help=command.help)

    def _commands(self) -> Iterator[Command]:
        yield from self._actions()
        yield from self._screens()
        yield from self._shown_runs()
        yield from self._themes()

    def _actions(self) -> Iterator[Command]:
        """The bindings that are active on the screen beneath the palette."""
        from console.tui.widgets.foot import possible

        seen: set[str] = set()
        for active in self.screen.active_bindings.values():
            binding, node = active.binding, active.node
            name = binding.id or ""
            if binding.system or not name or name in seen or name.startswith("app.palette"):
                continue
            if active.enabled and possible(active):
                seen.add(name)
                act = partial(self.app.run_action, binding.action, node)
                yield Command(binding.description, self._key(binding), act)

    def _key(self, binding: Binding) -> str:
        return f"{self.app.get_key_display(binding)}   {binding.id}"

    def _screens(self) -> Iterator[Command]:
        from console.tui.app import SCREEN_CLASSES

        for number, name in enumerate(SCREEN_CLASSES, 1):
            act = partial(self.app.call_later, self.ups.action_show, name)
            yield Command(f"Show {name.capitalize()}", f"screen {number}", act)

    def _shown_runs(self) -> Iterator[Command]:
        for row in self._runs:
            act = partial(self.app.call_later, self.ups.show_run, row.run)
            yield Command(f"Run {row.run} {row.config}", f"{row.status}; opens on Live", act)

    def _themes(self) -> Iterator[Command]:
        ours = [theme.name for theme in THEMES]
        others = sorted(set(self.app.available_themes) - set(ours))
        for name in [*ours, *others]:
            act = partial(self.app.call_later, self.ups.choose_theme, name)
            yield Command(f"Theme {name}", "in use" if name == self.app.theme else "and remember it", act)
