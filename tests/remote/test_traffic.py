from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import psutil
import pytest

from remote.telemetry import Traffic


def test_bytes_a_second_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Iterator[tuple[int, int]] = iter([(1000, 50), (5000, 50), (100, 0)])

    def look() -> SimpleNamespace:
        received, sent = next(seen)
        return SimpleNamespace(bytes_recv=received, bytes_sent=sent)

    monkeypatch.setattr(psutil, "net_io_counters", look)
    ticks = count(0.0, 2.0)
    traffic = Traffic(lambda: next(ticks))
    assert traffic.per_second() == (2000.0, 0.0)
    assert traffic.per_second() == (0, 0)  # the counters began anew


def test_a_box_that_hides_its_interfaces_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    assert Traffic().per_second() == (None, None)
