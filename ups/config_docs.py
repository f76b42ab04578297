"""Writes `docs/configs.md` from the schema, so that the page and the errors can never disagree.

python -m ups.config_docs docs/configs.md
"""

import argparse
import sys
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ups.config import EvalConfig, TrainConfig
from ups.yaml_config import section_of

_INTRO = """\
# Configs

<!-- Written by `make docs` from ups/config.py: change the docstrings there. -->

An experiment is one YAML file. `ups-console validate CONFIG…` checks it without starting anything, and
`--set key.path=value` (a YAML value; a number stands for an entry of a list) changes a key for one launch.

An unknown key, a key written twice or a value of the wrong type is an error, with exit code 3, that names
the file, the line and the key, and suggests the key that was probably meant:

    error: configs/mine.yaml:14: unknown key training.batch_sise
    hint: did you mean batch_size?

A key whose feature this version does not have is never ignored: `launch` refuses the config and names it.

The shipped configs are in `configs/`. `local_2task` is the default: minutes on two CPU cores.
"""

_TRAIN = "What a config for training holds. Only `data` and `stages` have to be there."
_EVAL = "What `--config`, `--eval-config` and `--eval-test-config` take. Nothing has to be there."

_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def markdown() -> str:
    """The whole page."""
    parts = [_INTRO]
    for title, text, schema in (("Training", _TRAIN, TrainConfig), ("Evaluation", _EVAL, EvalConfig)):
        parts += [f"## {title}\n\n{text}\n", _table(schema), *_sections(schema, "", {})]
    return "\n".join(parts)


def main() -> None:
    """Write the page to the path given as the only argument, or to standard output."""
    parser = argparse.ArgumentParser(description="Writes the page of the config keys.")
    parser.add_argument("path", nargs="?", type=Path, help="default: standard output")
    path: Path | None = parser.parse_args().path
    if path is None:
        sys.stdout.write(markdown())
    else:
        path.write_text(markdown(), encoding="utf-8")


def _sections(schema: type[BaseModel], prefix: str, written: dict[type[BaseModel], str]) -> list[str]:
    """The sections below a schema; one that stands in several places is written out at the first."""
    parts = []
    for name, field in schema.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            continue
        path = f"{prefix}{name}" + ("[]" if get_origin(field.annotation) is tuple else "")
        text = f"### `{path}`\n\n{field.description}"
        if section in written:
            parts.append(f"{text} The keys are those of `{written[section]}`.\n")
        else:
            written[section] = path
            parts += [f"{text}\n\n{_table(section)}", *_sections(section, f"{path}.", written)]
    return parts


def _table(schema: type[BaseModel]) -> str:
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    for name, field in schema.model_fields.items():
        kind, default = _type(field.annotation, field.metadata), _default(field)
        rows.append(f"| `{name}` | {kind} | {default} | {field.description or ''} |")
    return "\n".join(rows) + "\n"


def _type(annotation: Any, metadata: list[Any]) -> str:
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Annotated:
            return _type(arguments[0], list(arguments[1:]))
        case origin if origin is Literal:
            return " or ".join(f"`{value}`" for value in arguments)
        case origin if origin in {Union, types.UnionType}:
            return " or ".join(_type(part, metadata if _is_number(part) else []) for part in arguments)
        case origin if origin is tuple and arguments[-1] is ...:
            return f"list of {_type(arguments[0], [])}"
        case origin if origin is tuple:
            return "[" + ", ".join(_type(part, []) for part in arguments) + "]"
        case origin if origin is dict:
            return f"name: {_type(arguments[1], [])}"
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    if annotation is Any:
        return "value"
    name = {int: "integer", float: "number", bool: "true or false", str: "text"}[annotation]
    return f"{name} {_bounds(metadata)}".strip() if _is_number(annotation) else name


def _is_number(annotation: Any) -> bool:
    return annotation in {int, float}


def _bounds(metadata: list[Any]) -> str:
    # `Field(…)` inside an `Annotated` keeps its constraints one level down.
    constraints = [inner for item in metadata for inner in getattr(item, "metadata", [item])]
    found = (
        f"{sign} {getattr(constraint, name):g}"
        for constraint in constraints
        for name, sign in _BOUNDS
        if hasattr(constraint, name)
    )
    return ", ".join(found)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=200).removesuffix("\n").removesuffix("\n...")
    return f"`{text}`"


if __name__ == "__main__":
    main()
