"""A run with real training on a store that is slow with one task: `-m tests.remote.stream_driver RUN_DIR`.

Behind a slow line, and the waves come only after the run has said that it waits for them.
"""

import sys
import time
from pathlib import Path

from benchmarks.support.throttled import ThrottledStore
from remote import pipeline
from remote.__main__ import main
from ups.store import ObjectStore, Progress

BYTES_PER_S = 200e3


class Held(ThrottledStore):
    """Holds back a task until the run waits for it."""

    def download(self, key: str, target: Path, *, sha256: str, progress: Progress | None = None) -> None:
        events = Path(sys.argv[1]) / "events.jsonl"
        while "advection1d" in key and "waits for advection1d" not in events.read_text():
            time.sleep(0.02)
        super().download(key, target, sha256=sha256, progress=progress)


def opened(url: str) -> ObjectStore:
    return Held(Path(url.removeprefix("dir:")), BYTES_PER_S)


if __name__ == "__main__":
    pipeline.open_store = opened
    raise SystemExit(main(["run", sys.argv[1]]))
