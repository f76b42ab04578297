"""A run that is only looked at: opened from a path, or played again. Nothing is ended or written."""

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from console.runs.opened import OpenedRun
from console.tui.messages import RunChanged
from console.tui.screens.live import LiveScreen
from console.tui.sources import RunSource


class ViewScreen(LiveScreen):
    """Live over files alone: it asks for no runs and no fleet, and ends nothing."""

    FIRST: ClassVar[frozenset[str]] = frozenset()
    """Actions whose keys come before those of the pane in focus, unless that takes text."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Back", show=False, id="view.close"),
    ]

    def __init__(self, source: RunSource) -> None:
        super().__init__()
        self.source = source

    def refresh_data(self) -> None:
        """Nothing but its files is read."""
        if self.live is None:
            self.is_bare = not any(path.exists() for path in self.source.logs())
            self.begin(self.source)

    @property
    def knows_its_run(self) -> bool:
        return True

    @on(RunChanged)
    def _make_room(self, message: RunChanged) -> None:
        """Where there is neither log nor rollout the charts have the room."""
        if self.live is not None:
            has_log = any(path.exists() for path in self.live.logs)
            is_bare = not has_log and not self.live.view.rollouts
            if is_bare != self.is_bare:
                self.is_bare = is_bare
                self._show_panes()

    def _look_beside(self) -> None:
        """No other run is looked at."""

    def _read_beside(self) -> None:
        """Nor laid over this one."""

    def action_close(self) -> None:
        """Go back to where it was opened from."""
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What acts on an instance, or on other runs, is not there."""
        if action in ("tear_down", "run") or (action in self.FIRST and self.is_typing):
            return False
        return super().check_action(action, parameters)

    def possible(self, action: str) -> bool:
        """No other run is laid over it."""
        return action != "beside" and super().possible(action)

    @property
    def is_typing(self) -> bool:
        """Whether the keys go into a line of text, such as a search."""
        return self.focused is not None and self.focused.check_consume_key("a", "a")


class OpenedScreen(ViewScreen):
    """Live over a run directory that lies anywhere."""

    def __init__(self, source: OpenedRun) -> None:
        super().__init__(source)
        self.opened = source

    def place(self) -> str:
        return "read only"

    def _tick(self) -> None:
        super()._tick()
        if self.live is not None and self.is_whole and not self.is_being_read and self.opened.has_more():
            self.follow_on(self.live, self.opened)

    @property
    def is_being_read(self) -> bool:
        """Whether a worker reads it now; none does once nothing has come for a while."""
        return any(worker.group == "follow" and not worker.is_finished for worker in self.workers)
