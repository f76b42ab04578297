"""A sweep: which runs several configs and lists of values make, and what marks them as one.

Every value is checked against the schema, in every combination, before anything is rented.
"""

import itertools
import json
import math
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from console.api import LaunchRequest
from console.runs import configs
from console.runs.registry import RunHandle
from console.sweep_api import SweepRequest, written
from ups.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ups.config import TrainConfig

MOST_RUNS = 256
"""More are a slip of the keyboard."""
_MARK_FILE = "sweep.json"


@dataclass(frozen=True, slots=True)
class SweepMember:
    """One run that a sweep asks for."""

    request: LaunchRequest
    config: "TrainConfig"
    differs: Mapping[str, Any]
    """Dotted config key → its value, where not all runs agree."""


@dataclass(frozen=True, slots=True)
class SweepMark:
    """What a run knows of the sweep that it belongs to."""

    sweep: str
    number: int
    """Its place there, from 1."""
    of: int
    differs: Mapping[str, Any] = field(default_factory=dict)


def new_id() -> str:
    """The id of a sweep; no run has one like it."""
    return f"s{time.strftime('%m%d')}-{secrets.token_hex(2)}"


def write_mark(handle: RunHandle, mark: SweepMark) -> None:
    """Note beside a run what it was launched together with."""
    (handle.root / _MARK_FILE).write_text(json.dumps(asdict(mark), ensure_ascii=False), encoding="utf-8")


def read_mark(handle: RunHandle) -> SweepMark | None:
    """None where a run was launched alone, or its mark cannot be read."""
    try:
        found = json.loads((handle.root / _MARK_FILE).read_bytes())
        return SweepMark(str(found["sweep"]), int(found["number"]), int(found["of"]), dict(found["differs"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def expand(request: SweepRequest) -> tuple[SweepMember, ...]:
    """The runs of a sweep: the configs in their order, of each the product of the values.

    Raises:
        ConfigError: a config, or a key or value of the sweep, does not fit; names it.
        UsageError: an axis cannot be read, contradicts another option, or two runs are the same.
    """
    axes = _axes(request)
    count = len(request.configs) * math.prod(len(values) for values in axes.values())
    if count > MOST_RUNS:
        raise UsageError(f"that makes {count} runs; {MOST_RUNS} are the most", hint="sweep fewer values")
    found = []
    for path in request.configs:
        for values in itertools.product(*axes.values()):
            launch = replace(request.launch, config=path, patch=dict(zip(axes, values, strict=True)))
            found.append((launch, _checked(launch)))
    _refuse_twins(found)
    differing = differences([config for _, config in found])
    return tuple(
        SweepMember(launch, config, differs)
        for (launch, config), differs in zip(found, differing, strict=True)
    )


def differences(found: "Sequence[TrainConfig]") -> list[dict[str, Any]]:
    """Of each config the keys, with its values, in which not all agree; a key that it lacks is left out."""
    flat = [dict(_leaves(config.model_dump(mode="json"))) for config in found]
    keys = dict.fromkeys(key for leaves in flat for key in leaves)
    missing = object()
    differing = [key for key in keys if any(leaves.get(key, missing) != flat[0].get(key, missing)
                                            for leaves in flat)]  # fmt: skip
    return [{key: leaves[key] for key in differing if key in leaves} for leaves in flat]


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _axes(request: SweepRequest) -> dict[str, list[Any]]:
    axes: dict[str, list[Any]] = {}
    is_set = {override.partition("=")[0].strip() for override in request.launch.overrides}
    if request.launch.tasks:
        is_set.add("data.task")
    for text in request.axes:
        key, values = _axis(text)
        if key in axes:
            raise UsageError(f"--sweep {key} is given twice", hint="write its values in one list")
        if key in is_set:
            raise UsageError(f"{key} is both swept and set", hint="leave one of them out")
        axes[key] = values
    return axes


def _axis(text: str) -> tuple[str, list[Any]]:
    key, separator, values = text.partition("=")
    key = key.strip()
    if not separator or not all(key.split(".")):
        raise UsageError(f"--sweep {text}: write key.path=value,value")
    if not values.strip():
        raise UsageError(f"--sweep {text}: {key} has no values", hint=f"write --sweep {key}=value,value")
    try:
        parsed = yaml.safe_load(f"[{values}]")
    except yaml.YAMLError:
        parsed = None
    if not isinstance(parsed, list) or values.strip().endswith(","):
        raise UsageError(f"--sweep {text}: a value is empty or not valid YAML",
                         hint="separate values by single commas, quote those that hold one")  # fmt: skip
    return key, parsed


def _checked(launch: LaunchRequest) -> "TrainConfig":
    """The config of one run. Raises ConfigError that names what is to blame: one value, else all."""
    plain = replace(launch, patch={})
    unpatched = _config(plain)
    try:
        return _config(launch) if launch.patch else unpatched
    except ConfigError as error:
        blamed, told = launch.patch, error
    for key, value in launch.patch.items():
        try:
            _config(replace(plain, patch={key: value}))
        except ConfigError as error:
            blamed, told = {key: value}, error
            break
    where = ", ".join(f"{key}={written(value)}" for key, value in blamed.items())
    message = told.message.removeprefix("patch: ")
    raise ConfigError(f"{launch.config}: --sweep {where}: {message}", hint=told.hint)


def _config(launch: LaunchRequest) -> "TrainConfig":
    return configs.load(
        launch.config, tasks=launch.tasks, stage=launch.stage, overrides=launch.overrides, patch=launch.patch
    )[1]


def _refuse_twins(found: "Sequence[tuple[LaunchRequest, TrainConfig]]") -> None:
    first: dict[str, Path] = {}
    for launch, config in found:
        content = config.model_dump_json()
        if content in first:
            values = ", ".join(f"{key}={written(value)}" for key, value in launch.patch.items())
            twins = {str(first[content]): None, str(launch.config): None}
            raise UsageError(
                f"the same run twice: {' and '.join(twins)}" + (f" with {values}" if values else ""),
                hint="give each config and each value once; `--sweep seed=1,2` repeats a run",
            )
        first[content] = launch.config
