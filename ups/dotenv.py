"""`.env` files: `NAME=value` lines, which are parsed and never executed. Light to import.

What a line may be:

    # a comment, or nothing at all
    NAME=value                      export NAME = value        # a comment after a space
    NAME='as it stands'             NAME="with \\" and \\\\ and \\$ unescaped"

A value without quotes goes to the end of the line, spaces inside it included. Nothing is expanded: `$HOME`
and `$(date)` are these very characters. Lines end with LF, CR LF or CR. Of two lines for one name the
later one holds. Anything else is an error that names the line and never shows what is in it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ups.errors import ConfigError, NotFoundError

_LINE_ENDS = re.compile(r"\r\n|\n|\r")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_EXPORT = re.compile(r"export[ \t]+")
_COMMENT = re.compile(r"[ \t]#.*\Z")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r'\\([\\"$`])')
_FORM = "a line is NAME=value; quote a value with spaces at its ends, ` #` or a quote in it"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a file says of one name."""

    value: str
    line: int
    """From 1."""


def parse_dotenv(text: str, source: str) -> dict[str, Assignment]:
    """The assignments of a text.

    Args:
        text: the file's content.
        source: named in errors.

    Raises:
        ConfigError: a line is none of these; says which line and why, and nothing of what stands there.
    """
    found = {}
    for number, line in enumerate(_LINE_ENDS.split(text.removeprefix("\ufeff")), 1):
        stripped = line.strip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        try:
            name, value = _assignment(stripped)
        except ValueError as problem:
            raise ConfigError(f"{source}, line {number}: {problem}", hint=_FORM) from None
        found[name] = Assignment(value, number)
    return found


def read_dotenv(path: Path) -> dict[str, Assignment]:
    """The assignments of a file.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: it cannot be read, or a line is malformed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len(_LINE_ENDS.split(content[: error.start].decode("utf-8", "replace")))
        raise ConfigError(f"{path}, line {line}: this is not UTF-8", hint="save the file as UTF-8") from None
    return parse_dotenv(text, str(path))


def _assignment(line: str) -> tuple[str, str]:
    """Name and value of a line that is neither empty nor a comment; raises ValueError with the problem."""
    name, separator, value = _EXPORT.sub("", line, count=1).partition("=")
    if not separator:
        raise ValueError("there is no = in it")
    name = name.rstrip(" \t")
    if not _NAME.match(name):
        raise ValueError("what stands before = is no name of letters, digits and _")
    if "\0" in value:
        raise ValueError("there is a NUL character in it")
    return name, _value(value)


def _value(text: str) -> str:
    held = text.lstrip(" \t")
    if not held.startswith(("'", '"')):
        return _COMMENT.sub("", text).strip(" \t")
    quoted = (_SINGLE if held[0] == "'" else _DOUBLE).match(held)
    if quoted is None:
        raise ValueError("a quote is opened and not closed")
    if _COMMENT.sub("", held[quoted.end() :]).strip(" \t"):
        raise ValueError("something follows the closing quote")
    return quoted[1] if held[0] == "'" else _ESCAPED.sub(r"\1", quoted[1])
