"""What looking at fifty rented instances costs: the time of a look, and of the Fleet screen's processor.

The provider is the simulated Vast.ai on this machine; every instance has a run with recorded events.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from console.api import Transition
from console.fleet.model import InstanceState, Label
from console.home import Home
from console.operations import Operations
from tests.simulators.vast import VastSimulator

INSTANCES, EVENTS = 50, 2000
BAR_S = 1.0
"""A look at all of them may take so long."""
CPU_BAR = 0.15
"""Share of one core that the Fleet screen may take."""


class Watched(Operations):
    """Nothing is ended: the instances of this benchmark have no processes, and would all be torn down."""

    def reconcile(self, **_: object) -> list[Transition]:
        return []


def main() -> int:
    """Measure, print, and return the exit code."""
    options = arguments(__doc__).parse_args()
    watched_s = 10.0 if options.quick else 60.0
    with tempfile.TemporaryDirectory(prefix="ups-fleet-") as folder, VastSimulator() as vast:
        os.environ |= {"VAST_API_KEY": vast.api_key, "VAST_URL": vast.url}
        os.environ.pop("UPS_STORE", None)
        operations = Watched(Home(Path(folder) / "home"))
        for index in range(INSTANCES):
            _rent(operations, vast, index)
        asked = _seconds(lambda: operations.fleet_state())
        read = _seconds(lambda: operations.fleet_state(oldest_s=600.0))
        share = asyncio.run(_share_of_core(operations, watched_s))
    rows = [
        Row(f"refresh, {INSTANCES} instances asked for", asked, BAR_S, "bound", "s", "lower", 1.0),
        Row(f"refresh, {INSTANCES} instances from the ledger", read, BAR_S, "bound", "s", "lower", 1.0),
        Row("the Fleet screen, CPU of a core", share, CPU_BAR, "bound", "", "lower", 1.0),
    ]
    return finish(rows, options.json)


def _rent(operations: Operations, vast: VastSimulator, index: int) -> None:
    ledger, run = operations.ledger, f"1130-{index:04x}"
    label = Label.new(ledger.console_id, time.time() + 36_000)
    ask = vast.world.stock("RTX 4090", vram_gb=24.0, usd_per_hour=0.4, place="Poland, PL")
    body = {"image": "pytorch", "disk": 32, "label": str(label), "runtype": "ssh"}
    made = vast.world.rent(_id_of(ask, vast), body)
    ledger.intend(label, provider="vast", what="RTX 4090", usd_per_hour=0.4, cap_usd=5.0, keep=False,
                  run=run, attempt=1)  # fmt: skip
    ledger.move(str(label), InstanceState.REQUESTED, "offer")
    for state in (InstanceState.STARTING, InstanceState.REACHABLE, InstanceState.RUNNING):
        ledger.move(str(label), state, "benchmark", provider_id=str(made.id))
    directory = operations.home.runs / run / "attempt-1"
    directory.mkdir(parents=True)
    system = {"v": 1, "type": "system", "gpu": [{"util": 97.0}], "cpu": 10.0, "ram": 20.0, "disk_free": 1}
    lines = [json.dumps({**system, "t": time.time(), "seq": n}) for n in range(EVENTS)]
    (directory / "events.jsonl").write_text("\n".join(lines) + "\n")


def _id_of(ask: object, vast: VastSimulator) -> int:
    return ask if isinstance(ask, int) else max(vast.world.asks)


def _seconds(call: object) -> float:
    assert callable(call)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


async def _share_of_core(operations: Operations, seconds: float) -> float:
    from console.tui.app import UpsConsole

    async with UpsConsole(operations).run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await asyncio.sleep(3.0)
        began, used = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        return (time.process_time() - used) / (time.monotonic() - began)


if __name__ == "__main__":
    raise SystemExit(main())
