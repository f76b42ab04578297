"""The `metadata.json` of a folder in LagrangeBench's layout. Free of torch."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ups.errors import DataError

METADATA = "metadata.json"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is needed of it to read trajectories."""

    dt: float
    """Time between stored positions, in the unit of the simulation."""
    domain: tuple[tuple[float, float], ...]
    """(low, high) of each axis of the periodic box."""


def read_metadata(path: Path) -> Metadata:
    """Check a `metadata.json`.

    Raises:
        DataError: missing, damaged, or of a box that is not periodic along every axis.
    """
    content = _content(path)
    dims = int(_number(path, content, "dim"))
    if not 1 <= dims <= 3:
        raise DataError(f"{path}: dim is {dims}, not 1, 2 or 3")
    bounds: Any = content.get("bounds")
    if not _is_box(bounds, dims):
        raise DataError(f"{path}: bounds is {bounds}, not [low, high] for each of {dims} axes")
    periodic = content.get("periodic_boundary_conditions")
    if not isinstance(periodic, list) or periodic[:dims] != [True] * dims:
        raise DataError(
            f"{path}: periodic_boundary_conditions is {periodic}",
            hint="only boxes that are periodic along every axis are supported",
        )
    every = _number(path, content, "write_every") if "write_every" in content else 1.0
    dt = float(f"{_number(path, content, 'dt') * every:.12g}")  # 0.015, not the double next to it
    if not dt > 0:
        raise DataError(f"{path}: dt × write_every is {dt:g}, which is no time step")
    return Metadata(dt, tuple((float(low), float(high)) for low, high in bounds))


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing",
            hint="it states time step and bounds: put it beside the h5 files, as LagrangeBench does",
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="download it again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is no JSON object")
    return content


def _number(path: Path, content: Mapping[str, Any], name: str) -> float:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{path}: {name} is {'missing' if value is None else value}, not a number")
    return float(value)


def _is_box(bounds: object, dims: int) -> bool:
    return (
        isinstance(bounds, Sequence)
        and len(bounds) == dims
        and all(
            isinstance(ends, Sequence)
            and len(ends) == 2
            and all(isinstance(end, int | float) and math.isfinite(end) for end in ends)
            and ends[0] < ends[1]
            for ends in bounds
        )
    )
