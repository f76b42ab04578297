"""The console over a home whose runs all go on: what is appended to their logs is shown.

python benchmarks/support/log_app.py HOME
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from console.api import FollowBatch, RunStatus, Transition
from console.home import Home
from console.operations import Operations

if TYPE_CHECKING:
    from console.runs.registry import RunHandle

_LOOK_S = 0.2


class GoingOn(Operations):
    """No run ever ends, and nothing is asked of anybody."""

    def status(self, handle: "RunHandle") -> RunStatus:
        return RunStatus.RUNNING

    def follow(self, run: str, *, log: bool = True) -> Iterator[FollowBatch]:
        from console.runs.follow import Cursor

        cursor = Cursor(self.ledger, self.registry.find(run), log=log)
        while True:
            batch = cursor.read(RunStatus.RUNNING)
            yield batch
            if not batch.events:
                time.sleep(_LOOK_S)

    def reconcile(self, **_: object) -> list[Transition]:
        return []


if __name__ == "__main__":
    from console.tui.app import UpsConsole

    UpsConsole(GoingOn(Home(Path(sys.argv[1])))).run()
