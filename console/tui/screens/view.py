"""A run that is only looked at: opened from a path, or played again. Nothing is ended or written."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from console.runs.opened import OpenedRun
from console.tui.screens.live import LiveScreen


class OpenedScreen(LiveScreen):
    """Live over a run directory that lies anywhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Back", show=False, id="view.close"),
    ]

    def __init__(self, source: OpenedRun) -> None:
        super().__init__()
        self.source = source

    def refresh_data(self) -> None:
        """Nothing but its files is read."""
        if self.live is None:
            self.begin(self.source)

    def place(self) -> str:
        return "read only"

    def _beside(self) -> list[str]:
        return []

    def _tick(self) -> None:
        super()._tick()
        live = self.live
        if live is not None and self.is_whole and not self.is_being_read and self.source.has_more():
            self.follow_on(live, self.source)

    @property
    def is_being_read(self) -> bool:
        """Whether a worker reads it now; none does once nothing has come for a while."""
        return any(worker.group == "follow" and not worker.is_finished for worker in self.workers)

    def action_close(self) -> None:
        """Go back to where it was opened from."""
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What acts on an instance, or on other runs, is not there."""
        return False if action in ("tear_down", "run") else super().check_action(action, parameters)
