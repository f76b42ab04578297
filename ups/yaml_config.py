"""Reading a YAML file into a schema, with errors that say which line to change and what to write there.

A mistake costs rented hours when it is found late, and minutes when the message is vague. So every error
names its place (the file and line, or the `--set` that wrote the value) and its key, an unknown key is an
error that suggests the nearest known one, and a key written twice is refused. Free of torch.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ups.errors import ConfigError


class Section(BaseModel):
    """Base of every section: unknown keys are errors, attribute docstrings are the documentation."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, allow_inf_nan=False)


class KeyedError(ValueError):
    """A check across several keys failed; `key` is the one to blame, relative to the section that checks."""

    def __init__(self, message: str, *key: str | int) -> None:
        super().__init__(message)
        self.key = key


_S = TypeVar("_S", bound=Section)


def load_section(schema: type[_S], path: Path, overrides: Sequence[str] = ()) -> _S:
    """Read and validate a YAML file.

    Args:
        schema: what the file must hold.
        path: the YAML file.
        overrides: `key.path=value` pairs as given to `--set`; values are YAML.

    Raises:
        ConfigError: unreadable, not YAML, or not the schema; names file, line and key.
    """
    text = _read_text(path)
    try:
        content = yaml.safe_load(text)
        places = {key: f"{path}:{line}" for key, line in _key_lines(yaml.compose(text), str(path))}
    except yaml.YAMLError as error:
        raise _syntax_error(path, error) from None
    if content is None:
        raise ConfigError(f"{path} is empty", hint="see configs/local_2task.yaml")
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a mapping of keys to values", hint="see configs/local_2task.yaml")
    for override in overrides:
        parts = _override(content, override)
        for end in range(1, len(parts)):
            places.setdefault(".".join(parts[:end]), f"--set {override}")
        places[".".join(parts)] = f"--set {override}"
    return validate_section(schema, content, str(path), places)


def validate_section(schema: type[_S], content: dict[str, Any], source: str, places: Mapping[str, str]) -> _S:
    """Validate parsed content.

    Args:
        schema: what the content must hold.
        content: the parsed YAML.
        source: named in errors where `places` does not know the key.
        places: where each dotted key path was written.

    Raises:
        ConfigError: the content does not fit the schema.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = _to_mend_first(error.errors())
        text, hint = _described(schema, first)
        where = _place([str(part) for part in _location(first)], places) or source
        count = len({tuple(_location(problem)) for problem in error.errors()})
        others = f"and {count - 1} more" if count > 1 else ""
        raise ConfigError(f"{where}: {text}", hint="; ".join(filter(None, (hint, others)))) from None


def walk(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every key of a schema as (dotted path, the section it stands in, its name); lists are written `[]`."""
    for name, field in schema.model_fields.items():
        path = f"{prefix}{name}"
        yield path, schema, name
        section = section_of(field.annotation)
        if section is not None:
            listed = "[]" if "tuple" in str(field.annotation) else ""
            yield from walk(section, f"{path}{listed}.")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field of this type holds, alone, optional or in a list; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (section_of(argument) for argument in getattr(annotation, "__args__", ()))
    return next((section for section in found if section is not None), None)


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known words that `word` most likely means: those fewest edits away, none if all are far."""
    distances = {name: edit_distance(word, name) for name in known}
    least = min(distances.values(), default=0)
    if least > max(1, len(word) // 3):
        return difflib.get_close_matches(word, distances, n=1)
    return [name for name, distance in distances.items() if distance == least]


def edit_distance(left: str, right: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        siblings = [other.name for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f"did you mean {path.parent / near[0]}?" if near else "give the path of a YAML file"
        raise ConfigError(f"there is no config {path}", hint=hint) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a directory", hint="give the path of a YAML file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _syntax_error(path: Path, error: yaml.YAMLError) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    return ConfigError(f"{where}: not valid YAML: {problem}")


def _to_mend_first(problems: Sequence[Any]) -> Any:
    """A misspelled key also makes the right one missing, so it goes first; of a union, the deepest branch."""
    for problem in problems:
        if problem["type"] == "extra_forbidden":
            return problem
    first = _location(problems[0])
    return max((p for p in problems if _location(p)[: len(first)] == first), key=lambda p: len(_location(p)))


def _described(schema: type[BaseModel], problem: Any) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    location = _location(problem)
    key = ".".join(str(part) for part in location)
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key {key}", _suggestion(schema, location)
        case "missing":
            return f"{key} is missing", ""
        case "model_type" | "model_attributes_type" | "dict_type":
            if problem["input"] is None:
                return f"{key} is empty", "give it keys, or remove the line"
            return f"{key} must be a section of keys, not {problem['input']!r:.40}", ""
        case _:
            message = problem["msg"].removeprefix("Value error, ")
            return f"{key or 'config'}: {message[0].lower()}{message[1:]}", ""


def _location(problem: Any) -> list[str | int]:
    parts = list(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return parts
    blamed = problem.get("ctx", {}).get("error")
    inner = blamed.key if isinstance(blamed, KeyedError) else ()
    return [part for part in parts if not _is_tag(part)] + list(inner)


def _is_tag(part: int | str) -> bool:
    """Pydantic's location names the branch of a union it tried; that is no key of the file."""
    return isinstance(part, str) and (
        part in {"int", "float", "str"} or "[" in part or part.startswith("constrained-")
    )


def _suggestion(schema: type[BaseModel], location: Sequence[int | str]) -> str:
    word = str(location[-1])
    section: type[BaseModel] | None = schema
    for part in location[:-1]:
        if section is not None and isinstance(part, str):
            section = section_of(section.model_fields[part].annotation)
    near = nearest(word, section.model_fields) if section is not None else []
    if near:
        return f"did you mean {' or '.join(near)}?"
    elsewhere = [path for path, _, name in walk(schema) if name == word]
    return f"it belongs at {elsewhere[0]}" if elsewhere else "see docs/configs.md for the keys"


def _place(location: list[str], places: Mapping[str, str]) -> str | None:
    prefixes = (".".join(location[:end]) for end in range(len(location), 0, -1))
    return next((places[prefix] for prefix in prefixes if prefix in places), None)


def _override(content: dict[str, Any], override: str) -> list[str]:
    """Write one `key.path=value` into the content; returns the parts of the key."""
    key, separator, text = override.partition("=")
    if not separator or not all(key.strip().split(".")):
        raise ConfigError(f"--set {override}: write key.path=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from None
    return write_key(content, key.strip(), value, f"--set {override}")


def write_key(content: dict[str, Any], key: str, value: Any, source: str) -> list[str]:
    """Write a value at a dotted key path, where a number stands for an entry of a list.

    Args:
        content: what is changed; sections on the way are copied.
        key: the path.
        value: parsed.
        source: who writes it, for errors.

    Returns:
        The parts of the key.

    Raises:
        ConfigError: the path leads through something that is no section, or past the end of a list.
    """
    parts = key.split(".")
    holder: Any = content
    for depth, part in enumerate(parts):
        index = _index(holder, part, source, ".".join(parts[:depth]))
        if depth == len(parts) - 1:
            holder[index] = value
            break
        child = holder.get(index) if isinstance(holder, dict) else holder[index]
        # Copied on the way down: two sections that share a YAML anchor must not change together.
        holder[index] = list(child) if isinstance(child, list) else _mapping(child, source, part)
        holder = holder[index]
    return parts


def _index(holder: Any, part: str, source: str, parent: str) -> Any:
    if isinstance(holder, dict):
        return part
    if part.isdecimal() and int(part) < len(holder):
        return int(part)
    raise ConfigError(f"{source}: {parent} has {len(holder)} entries, counted from 0")


def _mapping(child: Any, source: str, part: str) -> dict[str, Any]:
    if child is None:
        return {}
    if not isinstance(child, dict):
        raise ConfigError(f"{source}: {part} is not a section")
    return dict(child)


def _key_lines(root: yaml.Node | None, source: str) -> Iterator[tuple[str, int]]:
    """(key path, line from 1) of every key of a YAML document; a key written twice is an error."""
    open_nodes: list[tuple[yaml.Node | None, str]] = [(root, "")]
    # Anchors make a graph of the tree, possibly a cyclic one: each node is visited once.
    visited: set[int] = set()
    while open_nodes:
        node, prefix = open_nodes.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            children = [(str(key.value), key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            children = [(str(index), value, value) for index, value in enumerate(node.value)]
        else:
            continue
        seen: set[str] = set()
        for name, key, value in children:
            path = f"{prefix}.{name}" if prefix else name
            line = key.start_mark.line + 1
            if name in seen and name != "<<":
                raise ConfigError(f"{source}:{line}: {path} is written twice", hint="remove one of them")
            seen.add(name)
            yield path, line
            open_nodes.append((value, path))
