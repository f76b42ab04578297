"""`python -m console.runs.ahead_process PATH`: reads an events file for `console.runs.ahead`, to its end.

A process of its own, because a million lines take a second of an interpreter, which the one that draws the
screen cannot spare. It writes portions to stdout: the length of each in four bytes, then, marshalled, the
byte position behind it and its events, metrics in columns. It goes when nobody reads them any more.
"""

import contextlib
import fcntl
import gc
import itertools
import marshal
import queue
import sys
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from console.runs.columns import Item, Metrics, TrackColumns, items_of, joined, metrics_of
from ups.events import Event

_BLOCK = 1 << 16
"""Bytes of the file whose lines are taken apart at a time: few, so that this process stays small."""
_BLOCKS = 4
"""Of a portion; of the first ones fewer, so that the first chart comes soon."""
_WAITING = 64
"""Portions that may wait here, of about 50 kB: about what is read while the console opens."""
_PIPE_BYTES = 1 << 20
"""What may wait on the way to it, where the system allows that."""


def main() -> None:
    """Read to the end, and write."""
    path = Path(sys.argv[1])
    gc.disable()  # nothing here refers to itself
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(sys.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # Linux
    portions: queue.Queue[bytes | None] = queue.Queue(_WAITING)
    writer = threading.Thread(target=_write, args=(portions, sys.stdout.buffer), daemon=True)
    writer.start()
    from console.runs.event_lines import EventLines  # here: the console unpacks without it

    lines, blocks = EventLines(path), 1
    while writer.is_alive():
        before = lines.offset
        items = list(_joined(_items(lines.read_lines(limit_bytes=_BLOCK)) for _ in range(blocks)))
        if lines.offset == before:
            break
        _put(portions, pack(lines.offset, items), writer)
        blocks = min(2 * blocks, _BLOCKS)
    _put(portions, None, writer)
    writer.join()


def _items(content: bytes) -> list[Item]:
    from console.runs.event_lines import decode_events, decode_metrics

    metrics = decode_metrics(content)
    return items_of(decode_events(content)) if metrics is None else [metrics_of(metrics)] if metrics else []


def _joined(blocks: Iterable[Sequence[Item]]) -> Iterator[Item]:
    """The items of all blocks, metrics that come one after the other in one piece."""
    for kind, alike in itertools.groupby(itertools.chain.from_iterable(blocks), type):
        if kind is Metrics:
            yield joined(cast("list[Metrics]", list(alike)))
        else:
            yield from alike


def _put(portions: "queue.Queue[bytes | None]", portion: bytes | None, writer: threading.Thread) -> None:
    while writer.is_alive():
        with contextlib.suppress(queue.Full):
            portions.put(portion, timeout=0.2)
            return


def _write(portions: "queue.Queue[bytes | None]", out: BinaryIO) -> None:
    with contextlib.suppress(BrokenPipeError):
        while (portion := portions.get()) is not None:
            out.write(len(portion).to_bytes(4, "little") + portion)
            out.flush()


def pack(offset: int, items: Sequence[Item]) -> bytes:
    """A portion as it is sent."""
    return marshal.dumps((offset, [_plain(item) for item in items]))


def unpack(portion: bytes) -> tuple[int, list[Item]]:
    """The byte position behind a portion, and what it holds."""
    offset, plain = marshal.loads(portion)
    return offset, [_item(*values) for values in plain]


def _plain(item: Item) -> tuple[Any, ...]:
    if isinstance(item, Event):
        return "event", (item.seq, item.t, item.type, dict(item.fields))
    tracks = [
        (key, points.steps.tobytes(), points.epochs.tobytes(), points.times.tobytes(), points.stages,
         {name: column.tobytes() for name, column in points.values.items()}, points.latest)
        for key, points in item.tracks.items()
    ]  # fmt: skip
    return "metrics", (
        item.count, item.first_t, item.last_t, item.last_seq, item.stage, item.epoch, item.stages, tracks,
        item.forecasts,
    )  # fmt: skip


def _item(kind: str, plain: tuple[Any, ...]) -> Item:
    if kind == "event":
        return Event(*plain)
    count, first_t, last_t, last_seq, stage, epoch, stages, tracks, forecasts = plain
    points = {key: _track(*columns) for key, *columns in tracks}
    return Metrics(count, first_t, last_t, last_seq, stage, epoch, stages, points, forecasts)


def _track(
    steps: bytes, epochs: bytes, times: bytes, stages: Any, values: dict[str, bytes], latest: Any
) -> TrackColumns:
    columns = {name: array("d", column) for name, column in values.items()}
    return TrackColumns(array("d", steps), array("d", epochs), array("d", times), stages, columns, latest)


if __name__ == "__main__":
    main()
