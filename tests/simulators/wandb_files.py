"""Reads what wandb has written offline: a `.wandb` file is a LevelDB log of protobuf records."""

import json
import struct
from pathlib import Path
from typing import Any

_BLOCK = 32768
_HEADER = 7
_FULL, _FIRST, _LAST = 1, 2, 4


def records(path: Path) -> list[Any]:
    """The records of a file, up to the end or to where a killed process has torn it."""
    from wandb.proto import wandb_internal_pb2 as protocol

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    place, partial, found = _HEADER, b"", []
    while place + _HEADER <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        data = content[place + _HEADER : place + _HEADER + length]
        if kind == 0 or len(data) < length:
            break
        place += _HEADER + length
        partial = data if kind in (_FULL, _FIRST) else partial + data
        if kind in (_FULL, _LAST):
            record = protocol.Record()
            record.ParseFromString(partial)
            found.append(record)
    return found


def offline_file(run_directory: Path) -> Path:
    """The newest offline run of a run directory."""
    return sorted((run_directory / "wandb").glob("offline-run-*/*.wandb"))[-1]


def rows(found: list[Any]) -> list[dict[str, Any]]:
    """The history of a run."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in found
        if record.WhichOneof("record_type") == "history"
    ]


def of_kind(found: list[Any], kind: str) -> list[Any]:
    """The records of a kind: `run`, `summary`, `exit`, `metric`, `artifact`."""
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]
