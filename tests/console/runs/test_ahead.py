import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from console.runs import ahead
from console.runs.ahead import AheadLines
from console.runs.ahead_process import pack, unpack
from console.runs.columns import Metrics, items_of
from console.runs.cursor import AttemptFiles, FilesCursor
from console.runs.event_lines import EventLines
from console.runs.series import RunView
from ups.events import encode

ODD = [
    b"\n",
    b"{torn\n",
    b"\r\n",
    b'{"seq":7,"t":1.0,"type":"metric","values":{"loss":NaN},"task":"darcy2d"}\n',
    b'{"seq":7,"t":1.0,"type":"metric","values":{"loss":{"deep":1}}}\n',
    b'{"seq":8,"t":2.0,"type":"metric","step":null,"values":{}}\n',
    encode(9, 3.0, "tea", {"for": ["two", None, {"and": 10**30}], "text": "\ud83c\udf75 \ud800".encode(
        "utf-8", "replace").decode()}),
    encode(10, 4.0, "system", {"cpu": 50.0, "gpu": [{"util": 3}]}),
    encode(11, 5.0, "note", {"text": "x" * 400_000}),
]  # fmt: skip


def metric(seq: int, step: int, task: str, **values: float | None) -> bytes:
    fields = {"stage": "operator", "epoch": step // 10, "step": step, "task": task, "split": "train"}
    return encode(seq, float(seq), "metric", {**fields, "values": values})


def some_run() -> list[bytes]:
    """All that a reader must get right: gaps, steps that go back, events between, lines of another form."""
    lines = [encode(0, 0.0, "run", {"name": "x", "tasks": ["burgers1d", "darcy2d"], "stages": ["operator"]})]
    for step in range(3000):
        loss = None if step % 7 == 3 else 1 / (step + 1)
        lines.append(metric(len(lines), step, "burgers1d", loss=loss))
        lines.append(metric(len(lines), step, "darcy2d", loss=0.5, **({"nrmse": 0.1} if step % 5 else {})))
        if step % 400 == 0:
            lines += ODD
    resumed = {"stage": "operator", "epoch": 100, "step": 1000, "checkpoint": "last"}
    lines.append(encode(len(lines), 9e3, "resumed", resumed))
    lines += [metric(len(lines) + step, step, "burgers1d", loss=2.0) for step in range(1001, 1500)]
    return lines


def view_of(reader: EventLines | AheadLines) -> tuple[RunView, int]:
    """What it adds up to, and how many portions of columns came."""
    view, portions = RunView(), 0
    while isinstance(reader, AheadLines) and reader.is_ahead:
        items = reader.take()
        portions += any(isinstance(item, Metrics) for item in items)
        view.apply_all(items)
    before = -1
    while reader.offset > before:
        before = reader.offset
        view.apply_all(reader.read(limit_bytes=1 << 16))
    return view, portions


def assert_same(one: RunView, other: RunView) -> None:
    for name in ("tasks", "seen_stages", "stage", "epoch", "first_t", "last_t", "last_seq", "revision"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.tracks.keys() == other.tracks.keys()
    assert one.system == other.system
    for key, track in one.tracks.items():
        peer = other.tracks[key]
        for column in ("steps", "epochs", "times", "stages"):
            assert np.array_equal(getattr(track, column), getattr(peer, column)), (key, column)
        assert track.values.keys() == peer.values.keys()
        for name, value in track.values.items():
            assert np.array_equal(
                value.mean[: len(track)], peer.values[name].mean[: len(peer)], equal_nan=True
            )
            assert value.latest == peer.values[name].latest


@pytest.fixture(autouse=True)
def _every_file_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "WORTH_BYTES", 0)


def test_another_process_reads_what_this_one_would(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(some_run()) + b'{"seq":99999,"t":1.0,"ty')
    reader = AheadLines(path)
    read, portions = view_of(reader)
    assert portions > 1
    assert reader.offset == path.read_bytes().rindex(b"\n") + 1
    assert_same(read, view_of(EventLines(path))[0])


def test_a_long_stretch_without_an_event_is_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = some_run()
    path.write_bytes(b"".join(lines[:3000]) + b"{torn\n" * 200_000 + b"".join(lines[3000:]))
    cursor, view = FilesCursor(log=False, ahead=True), RunView()
    portion = cursor.read([AttemptFiles(path, ())])
    while portion.items or portion.events or portion.more:
        view.apply_all([*portion.items, *portion.events])
        portion = cursor.read([AttemptFiles(path, ())])
    cursor.close()
    assert_same(view, view_of(EventLines(path))[0])


def test_what_is_written_later_is_read_here(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = some_run()
    path.write_bytes(b"".join(lines[:4000]) + lines[4000][:9])
    reader = AheadLines(path)
    view, _ = view_of(reader)
    with path.open("ab") as file:
        file.write(lines[4000][9:] + b"".join(lines[4001:]))
    while events := reader.read(limit_bytes=1 << 16):
        view.apply_all(events)
    assert_same(view, view_of(EventLines(path))[0])


def test_where_the_other_process_dies_the_rest_is_read_here(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(some_run()) * 3)
    reader = AheadLines(path)
    view = RunView()
    view.apply_all(reader.take())
    assert reader._process is not None
    os.kill(reader._process.pid, signal.SIGKILL)
    while reader.is_ahead:
        view.apply_all(reader.take())
    assert reader.offset <= path.stat().st_size
    while events := reader.read(limit_bytes=1 << 16):
        view.apply_all(events)
    assert_same(view, view_of(EventLines(path))[0])


def test_where_no_process_can_be_started_all_is_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead.sys, "executable", str(tmp_path / "gone"))
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(some_run()))
    reader = AheadLines(path)
    assert not reader.is_ahead
    assert_same(view_of(reader)[0], view_of(EventLines(path))[0])


def test_nothing_is_left_of_a_process_that_nobody_wants_any_more(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(some_run()) * 10)
    reader = AheadLines(path)
    process = reader._process
    assert process is not None
    reader.close()
    assert process.returncode is not None
    assert not reader.is_ahead


def test_a_portion_is_what_it_was_before_it_was_sent() -> None:
    lines = [encode(0, 0.0, "run", {"name": "x"}), metric(1, 1, "darcy2d", loss=None, nrmse=0.5)]
    lines += [metric(2, 2, "darcy2d", loss=math.pi), metric(3, 3, "burgers1d", loss=1.0), ODD[6]]
    from console.runs.event_lines import decode_events

    items = items_of(decode_events(b"".join(lines)))
    offset, sent = unpack(pack(123, items))
    assert offset == 123
    assert repr(sent) == repr(items)


@pytest.mark.parametrize("is_ahead", [False, True])
def test_an_attempt_is_read_once_the_one_before_it_is(tmp_path: Path, is_ahead: bool) -> None:
    attempts = []
    for number in (1, 2, 3):
        folder = tmp_path / f"attempt-{number}"
        folder.mkdir()
        lines = [metric(step, 1000 * number + step, "darcy2d", loss=1.0) for step in range(900)]
        (folder / "events.jsonl").write_bytes(b"".join(lines))
        attempts.append(AttemptFiles.below(folder))
    cursor, view = FilesCursor(log=False, ahead=is_ahead), RunView()
    while (portion := cursor.read(attempts, limit_bytes=20_000)).events or portion.items:
        assert not (portion.events and portion.items)
        view.apply_all([*portion.items, *portion.events])
    cursor.close()
    steps = view.tracks["darcy2d", "train"].steps
    assert steps.tolist() == [1000 * number + step for number in (1, 2, 3) for step in range(900)]
