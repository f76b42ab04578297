"""How the console looks and is steered: the part of config.toml that is needed before the first frame.

    theme = "ups-light"
    ascii = true
    pictures = "blocks"

    [keys]
    live.teardown = "X"
    table.down = "down,j,ctrl+n"

Nothing heavy is imported: opening the console waits for this. What the names mean is judged where the
themes and the keys are (`console.tui.theme`, `console.tui.keymap`).
"""

import locale
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from ups.errors import ConfigError, StoreError

_HEADER = re.compile(r"\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(#.*)?$")
_ASSIGNMENT = re.compile(r"""\s*(?P<name>[\w.\-"' ]+?)\s*=""")
_THEME = re.compile(r"\s*theme\s*=")


Pictures = Literal["auto", "blocks", "kitty"]
"""As the terminal can, of half-blocks, or by kitty's protocol whatever the terminal says of itself."""


class KeyChange(Struct, frozen=True):
    """A binding that the user wants on other keys."""

    binding: str
    """Its id."""
    keys: str
    """As Textual spells them, apart by commas."""
    where: str
    """File and line."""


class Look(Struct, frozen=True):
    """What the first frame needs to know."""

    theme: str | None = None
    """None: as the terminal's background says, else the default."""
    theme_from: str = "--theme"
    """Who asks for it."""
    ascii: bool = False
    """Draw with ASCII alone."""
    pictures: Pictures = "auto"
    keys: tuple[KeyChange, ...] = ()
    config: Path | None = None
    """Where the theme that is chosen later is remembered."""

    def over(self, *, theme: str | None = None, ascii_only: bool = False) -> "Look":
        """The same with what the command line says."""
        origin = "--theme" if theme else self.theme_from
        return replace(self, theme=theme or self.theme, theme_from=origin, ascii=ascii_only or self.ascii)


def read_look(path: Path) -> Look:
    """The look that a config.toml asks for; the default where there is none.

    Raises:
        ConfigError: it is not TOML, or a value has the wrong type.
    """
    if not path.exists():
        return Look(config=path)
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: {error}", hint="mend it, or delete it: every key is optional") from None
    theme, ascii_only = content.get("theme"), content.get("ascii", False)
    if not isinstance(theme, str | None):
        raise ConfigError(f"{path}: theme must be the name of a theme, not {theme!r}")
    if not isinstance(ascii_only, bool):
        raise ConfigError(f"{path}: ascii must be true or false, not {ascii_only!r}")
    pictures = content.get("pictures", "auto")
    if pictures not in get_args(Pictures):
        known = ", ".join(get_args(Pictures))
        raise ConfigError(f"{path}: pictures must be one of {known}, not {pictures!r}")
    if "keymap" in content:
        raise ConfigError(f"{path}: the table of keys is called [keys], not [keymap]")
    keys = content.get("keys", {})
    if not isinstance(keys, dict):
        raise ConfigError(f"{path}: keys must be a table, [keys]")
    lines = dict(_lines(text))
    where = f"{path}:{lines['theme']}" if "theme" in lines else str(path)
    return Look(theme or None, where, ascii_only, pictures, tuple(_changes(keys, path, lines)), path)


def _changes(keys: Mapping[str, Any], path: Path, lines: Mapping[str, int]) -> Iterator[KeyChange]:
    for name, value in _flat(keys, ""):
        where = f"{path}:{lines[f'keys.{name}']}" if f"keys.{name}" in lines else str(path)
        if not isinstance(value, str):
            raise ConfigError(f"{where}: keys.{name} must be keys in quotes, not {value!r}")
        yield KeyChange(name, value, where)


def _flat(table: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    """Dotted name → value, whether the names are quoted, dotted or tables of their own."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Dotted name → line number of each assignment."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _unquoted(header["name"]) + "."
        elif assignment := _ASSIGNMENT.match(line):
            yield table + _unquoted(assignment["name"]), number


def _unquoted(name: str) -> str:
    return re.sub(r"[\"' ]", "", name)


def remember_theme(path: Path, theme: str) -> None:
    """Write the chosen theme into config.toml; all else in it stays as it is.

    Raises:
        StoreError: it cannot be written.
    """
    line = f'theme = "{theme}"'
    try:
        before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        tables = [n for n, text in enumerate(before) if text.lstrip().startswith("[")]
        top = before[: tables[0]] if tables else before
        place = next((n for n, text in enumerate(top) if _THEME.match(text)), None)
        lines = [line, *before] if place is None else [*before[:place], line, *before[place + 1 :]]
        _replace(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise StoreError(f"{path}: the theme cannot be remembered: {error.strerror or error}") from error


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all; its mode stays, a new one is for its owner alone."""
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()  # a link, as of a repository of dotfiles, stays one
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".config-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, mode)  # noqa: PTH101 - `name` is a string
        os.replace(name, target)  # noqa: PTH105
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def needs_ascii(encoding: str | None = None) -> bool:
    """Whether the locale has no UTF-8: other characters would arrive as garbage.

    Args:
        encoding: of the terminal; None: the locale's.
    """
    name = encoding or locale.getencoding()
    return name.lower().replace("-", "").replace("_", "") != "utf8"
