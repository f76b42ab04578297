"""A rollout, frame by frame: what the model predicts, what is true, where it errs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer

from console.tui.drawing.text import Row, clip, count, drop_spans, number
from console.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from console.tui.drawing.picture import Paint
    from console.tui.drawing.rollout import Rollout

SPEEDS = (1, 2, 4, 6, 12, 24)
"""Frames a second."""
_USUAL_SPEED = SPEEDS.index(6)


class RolloutView(Panel, can_focus=True):
    """Shows one rollout; the screen decides which."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "frame(-1)", "Frame back", show=False, id="rollout.back"),
        Binding("right", "frame(1)", "Frame on", show=False, id="rollout.on"),
        Binding("home", "first", "First frame", show=False, id="rollout.first"),
        Binding("space", "play", "Play or pause", id="rollout.play"),
        Binding("up", "other(-1)", "Earlier rollout", show=False, id="rollout.earlier"),
        Binding("down", "other(1)", "Later rollout", show=False, id="rollout.later"),
        Binding("c", "channel", "Next field", show=False, id="rollout.channel"),
        Binding("p", "colours", "Next colour map", show=False, id="rollout.colours"),
        Binding("plus,equals_sign", "speed(1)", "Faster", show=False, key_display="+", id="rollout.faster"),
        Binding("minus", "speed(-1)", "Slower", show=False, id="rollout.slower"),
        Binding("end", "last", "Last frame", show=False, id="rollout.last"),
    ]

    class Wanted(Message):
        """An earlier (−1) or later (+1) rollout of the same task is wanted."""

        def __init__(self, view: "RolloutView", by: int) -> None:
            super().__init__()
            self.view, self.by = view, by

        @property
        def control(self) -> "RolloutView":
            return self.view

    def __init__(
        self,
        *,
        empty: str = "no rollout yet",
        painter: "Callable[[], Paint] | None" = None,
        id: str | None = None,
    ) -> None:
        """
        Args:
            empty: what is said while there is none.
            painter: gives what draws pictures; None: half-blocks.
            id: of the widget.
        """
        super().__init__(id=id)
        self._painter = painter
        self.rollout: Rollout | None = None
        self.frame = 0
        self.channel = 0
        self.colours = "field"
        self._speed = _USUAL_SPEED
        self.place = ""
        """Which of how many this one is."""
        self.empty = empty
        self._playing: Timer | None = None

    def show(self, rollout: "Rollout | None", place: str = "") -> None:
        """Show a rollout; the frame stays where the new one has it."""
        same = self.rollout is not None and rollout is not None and self.rollout.task == rollout.task
        self.rollout, self.place = rollout, place
        frames = rollout.num_frames if rollout else 1
        self.frame = min(self.frame, frames - 1) if same else 0
        self.channel = self.channel if same else 0
        self.changed()

    # --- keys --------------------------------------------------------------------------------

    def action_frame(self, by: int) -> None:
        self._stop()
        self._step(by)

    def action_first(self) -> None:
        self._stop()
        self.frame = 0
        self.repaint()

    def action_last(self) -> None:
        self._stop()
        self.frame = self.rollout.num_frames - 1 if self.rollout is not None else 0
        self.repaint()

    def action_play(self) -> None:
        if self._playing is not None:
            self._stop()
        else:
            self._play()
        self.repaint()

    def action_speed(self, by: int) -> None:
        self._speed = min(max(self._speed + by, 0), len(SPEEDS) - 1)
        if self._playing is not None:
            self._stop()
            self._play()
        self.repaint()

    def action_colours(self) -> None:
        from console.tui.drawing.picture import FIELD_MAPS

        self.colours = FIELD_MAPS[(FIELD_MAPS.index(self.colours) + 1) % len(FIELD_MAPS)]
        self.repaint()

    def _play(self) -> None:
        if self.rollout is not None and self.rollout.num_frames > 1:
            self._playing = self.set_interval(1 / SPEEDS[self._speed], lambda: self._step(1))

    def action_other(self, by: int) -> None:
        self.post_message(self.Wanted(self, by))

    def action_channel(self) -> None:
        if self.rollout is not None:
            self.channel = (self.channel + 1) % self.rollout.pred.shape[-1]
            self.repaint()

    def _step(self, by: int) -> None:
        if self.rollout is not None:
            self.frame = (self.frame + by) % self.rollout.num_frames
            self.repaint()

    def _stop(self) -> None:
        if self._playing is not None:
            self._playing.stop()
            self._playing = None

    # --- drawing -----------------------------------------------------------------------------

    def title(self) -> Row:
        rollout = self.rollout
        if rollout is None:
            return [("rollout", "title")]
        row: Row = [("● ", f"task:{rollout.task}"), (rollout.task, "title")]
        if rollout.pred.shape[-1] > 1:
            names = rollout.fields or tuple(f"field {n}" for n in range(rollout.pred.shape[-1]))
            row.append((f"  {names[self.channel % len(names)]}", "accent"))
        row.append((f"  step {count(rollout.step)}", "muted"))
        row.append((f"  sample {rollout.sample}" if rollout.sample else "", "muted"))
        return [*row, (f"  {self.colours}" if self.colours != "field" else "", "accent")]

    def summary(self) -> Row:
        rollout = self.rollout
        if rollout is None or rollout.nrmse is None:
            return []
        no_skill = rollout.persistence is not None and rollout.nrmse >= rollout.persistence
        row: Row = [(f"nRMSE {number(rollout.nrmse)}", "warn" if no_skill else "text")]
        if rollout.persistence is not None:
            row.append((f"  copy {number(rollout.persistence)}", "muted"))
        return row

    def footnote(self) -> Row:
        return [(self.place, "muted")] if self.place else []

    def draw(self, width: int, height: int) -> list[Row]:
        rollout = self.rollout
        if rollout is None:
            return [[(" " + clip(self.empty, width - 1), "muted")]]
        if width < 24 or height < 4:
            return [[(" too small for a picture", "muted")]]
        from console.tui.drawing.picture import half_blocks
        from console.tui.drawing.rollout import draw_frame

        paint = self._painter() if self._painter is not None else half_blocks
        rows = draw_frame(rollout, self.frame, self.channel, width, height - 1, self.colours, paint)
        rows += [[] for _ in range(height - 1 - len(rows))]
        return [*rows[: height - 1], self._frames(width)]

    def _frames(self, width: int) -> Row:
        """◂ ● ○ ○ ▸ with the frame's time and error."""
        from console.tui.drawing.rollout import frame_nrmse

        rollout = self.rollout
        assert rollout is not None
        frames, error = rollout.num_frames, number(frame_nrmse(rollout, self.frame))
        if frames == 1:
            return [(" nRMSE here ", "muted"), (error, "text")]
        tail: Row = [
            (f"  t = {float(rollout.times[self.frame]):.3g}", "text"),
            (f"  nRMSE here {error}", "muted"),
        ]
        if 2 * frames + 34 <= width:
            dots: Row = [
                ("● " if n == self.frame else "○ ", "accent" if n == self.frame else "muted")
                for n in range(frames)
            ]
        else:
            room = max(8, width - 40)
            knob = round(self.frame / (frames - 1) * (room - 1))
            dots = [
                ("─" * knob, "accent"),
                ("●", "accent"),
                ("─" * (room - 1 - knob), "frame"),
                (" ", "text"),
            ]
        play = "▮▮" if self._playing is not None else " ▸"
        head: Row = [(" ◂ ", "muted"), *dots, (play, "muted")]
        tail.append((f"  {SPEEDS[self._speed]}/s" if self._speed != _USUAL_SPEED else "", "muted"))
        return drop_spans([*head, (f" {self.frame + 1}/{frames}", "muted"), *tail], width)
