"""Help: the keys that work where it was asked for, read from the bindings themselves."""

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen

from console.tui.drawing.text import Row, fit
from console.tui.widgets.text import TextPanel

_TITLES = {
    "app": "everywhere", "table": "in a table", "checklist": "in a list to tick", "log": "in the log",
    "curve": "in a chart", "charts": "among the charts", "rollout": "in the rollout", "text": "in a text",
    "page": "on a page",
}  # fmt: skip


class HelpScreen(ModalScreen[None]):
    """A page of keys over the screen that asked."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close", id="help.close"),
    ]

    def __init__(self, asked: Screen[Any]) -> None:
        super().__init__()
        self._asked = asked

    def compose(self) -> ComposeResult:
        yield TextPanel(heading="keys", wrap=False, id="help")

    def on_mount(self) -> None:
        panel = self.query_one(TextPanel)
        panel.show(key_rows(self._asked))
        panel.focus()


def _is_there(screen: Screen[Any], node: DOMNode, entry: Binding) -> bool:
    """Whether a screen has not put away a key of the kind of screen that it is a special case of."""
    action, _, arguments = entry.action.partition("(")
    return node is not screen or screen.check_action(action, (arguments.rstrip(")"),)) is not False


def key_rows(screen: Screen[Any]) -> list[Row]:
    """The keys of a screen, of its panes and of the app, grouped by where they work."""
    groups: dict[str, dict[str, tuple[str, str]]] = {}
    nodes = [screen, *screen.query("*").results(), screen.app]
    for node in nodes:
        bindings = node._bindings.copy()  # the only list of all of them
        bindings.apply_keymap(screen.app._keymap)
        for binding in bindings.key_to_bindings.values():
            for entry in binding:
                if entry.id is not None and not entry.system and _is_there(screen, node, entry):
                    group = entry.id.split(".")[0]
                    known = groups.setdefault(group, {})
                    key = node.app.get_key_display(entry)
                    before = (
                        known[entry.id][0] + ", "
                        if entry.id in known and key not in known[entry.id][0]
                        else ""
                    )
                    if entry.id not in known or before:
                        known[entry.id] = (before + key, entry.description)
    names = sorted(groups, key=lambda name: (name == "app", name in _TITLES))
    rows: list[Row] = []
    for name in names:
        rows += [[(_TITLES.get(name, f"on {name.capitalize()}"), "title")]]
        rows += [[(fit(key, 18), "key"), (text, "text")] for key, text in groups[name].values()]
        rows.append([])
    return [*rows, [("esc", "key"), (" closes", "muted")]]
