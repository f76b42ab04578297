"""The user's keys: each change is held against all bindings of the console before it opens.

A change names a binding by its id. Refused are an id that no binding has, a key that no terminal sends,
and a key that does something else in the same place already.
"""

import importlib
import pkgutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, _normalize_key_list
from textual.screen import ModalScreen, Screen

from console.look import KeyChange
from ups.errors import ConfigError

_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_SHOWN = 6
"""Neighbours that an error names."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding, and the class of screen, pane or app that has it."""

    owner: type[DOMNode]
    binding: Binding

    @property
    def name(self) -> str:
        """Its id."""
        return self.binding.id or ""

    @property
    def keys(self) -> tuple[str, ...]:
        """As Textual names them."""
        return _keys(self.binding.key)


def all_bindings() -> list[Bound]:
    """Every binding of the console; imports all its screens."""
    import console.tui

    for module in pkgutil.walk_packages(console.tui.__path__, "console.tui."):
        importlib.import_module(module.name)
    return list(_declared())


def _declared() -> Iterator[Bound]:
    waiting: list[type[DOMNode]] = [DOMNode]
    seen: set[type[DOMNode]] = set()
    while waiting:
        kind = waiting.pop()
        waiting += [child for child in kind.__subclasses__() if child not in seen]
        seen.update(kind.__subclasses__())
        if kind.__module__.startswith("console."):
            for binding in Binding.make_bindings(kind.__dict__.get("BINDINGS", ())):
                yield Bound(kind, binding)


def keymap_of(changes: Sequence[KeyChange]) -> dict[str, str]:
    """What Textual wants: id → keys.

    Raises:
        ConfigError: a change names no binding, no key, or one that is taken.
    """
    if not changes:
        return {}  # no screen is imported for nothing
    known = all_bindings()
    keymap: dict[str, str] = {}
    for change in changes:
        _check_name(change, known)
        _check_keys(change)
        keymap[change.binding] = _normalize_key_list(change.keys)
    for change in changes:
        _check_clash(change, known, keymap)
    return keymap


def _check_name(change: KeyChange, known: Iterable[Bound]) -> None:
    names = sorted({bound.name for bound in known})
    if change.binding in names:
        return
    near = get_close_matches(change.binding, names, _SHOWN, 0.5)
    group = change.binding.partition(".")[0]
    near = near or [name for name in names if name.partition(".")[0] == group]
    groups = sorted({name.partition(".")[0] for name in names})
    hint = f"near it: {', '.join(near[:_SHOWN])}" if near else f"ids begin with: {', '.join(groups)}"
    raise ConfigError(f"{change.where}: keys.{change.binding} is no binding's id", hint=hint)


def _check_keys(change: KeyChange) -> None:
    for key in _keys(change.keys):
        if not _is_key(key):
            near = get_close_matches(key.rpartition("+")[2], sorted(_named_keys()), _SHOWN)
            hint = f"near it: {', '.join(near)}" if near else "for example: x, X, f5, ctrl+x, space, pageup"
            raise ConfigError(f"{change.where}: keys.{change.binding}: {key!r} is no key", hint=hint)


def _check_clash(change: KeyChange, known: Sequence[Bound], keymap: dict[str, str]) -> None:
    mine = [bound for bound in known if bound.name == change.binding]
    for key in _keys(change.keys):
        taken = sorted({
            f"{other.name} ({other.binding.description})"
            for other in known
            if other.name != change.binding
            and key in (_keys(keymap[other.name]) if other.name in keymap else other.keys)
            and any(_meet(bound.owner, other.owner) for bound in mine)
        })  # fmt: skip
        if taken:
            raise ConfigError(
                f"{change.where}: keys.{change.binding}: {key} is taken by {', '.join(taken[:_SHOWN])}",
                hint="choose another key, or give that one another too",
            )


def _meet(one: type[DOMNode], other: type[DOMNode]) -> bool:
    """Whether the bindings of two classes may be active at the same time."""
    if issubclass(one, other) or issubclass(other, one):
        return True
    if issubclass(one, ModalScreen) or issubclass(other, ModalScreen):
        return False  # nothing beneath it hears a key
    if issubclass(one, App) or issubclass(other, App):
        return True
    return issubclass(one, Screen) != issubclass(other, Screen)  # a screen, and a pane that may be on it


def _keys(text: str) -> tuple[str, ...]:
    return tuple(_normalize_key_list(text).split(","))


def _named_keys() -> set[str]:
    names = {str(key.value) for key in Keys if not key.value.startswith("<")}
    return names | set(KEY_NAME_REPLACEMENTS.values())


def _is_key(key: str) -> bool:
    *modifiers, last = key.split("+")
    if not _MODIFIERS.issuperset(modifiers) or not last:
        return False
    if len(last) == 1:
        return last.isprintable()
    return key in _named_keys() or last in _named_keys() or _is_character(last)


def _is_character(name: str) -> bool:
    """Whether it is a character's name in Unicode, as Textual writes it."""
    try:
        unicodedata.lookup(name.replace("_", " ").upper())
    except KeyError:
        return False
    return True
