"""What the machine does, every 2 seconds, at next to no cost."""

from pathlib import Path

from remote.journal import Journal
from remote.telemetry import Rates, Telemetry, traffic
from tests.remote.conftest import wait_for
from ups.events import EventReader, EventType


def test_a_system_event_says_what_the_machine_does(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with Journal(path) as journal, Telemetry(journal, tmp_path, every_s=0.05):
        wait_for(lambda: any(event.type == EventType.SYSTEM for event in EventReader(path).read()))
    event = next(event for event in EventReader(path).read() if event.type == EventType.SYSTEM)
    assert {"gpu", "cpu", "ram", "disk_free", *traffic()} <= event.fields.keys()
    assert "net_recv" in event.fields


def test_counters_become_rates() -> None:
    counts, times = iter([100, 300, 200, 250]), iter([0.0, 2.0, 4.0, 4.5])
    rates = Rates(lambda: {"net_recv": next(counts)}, clock=lambda: next(times))
    assert rates.read() == {"net_recv": 100}
    assert rates.read() == {}, "the counter began anew"
    assert rates.read() == {"net_recv": 100}
