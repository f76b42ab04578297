"""A mirror in a process of its own: `-m benchmarks.support.mirroring BOX COPY`.

It copies the run directory `run` of a local box as the console does, from the line `on` on stdin until
`off`, and answers every line with the CPU seconds that it has used by then.
"""

import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_LOOK_S = 0.2


class Mirroring:
    """The process, from the side that trains."""

    def __init__(self, box: Path, copy: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(box), str(copy)],
            cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def say(self, word: str) -> float:
        """Turn it `on` or `off`; returns the CPU seconds that it has used so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    from console.runs.mirror import Mirror
    from console.runs.transport import LocalTransport
    from ups.rundir import RunDirectory

    box, copy = map(Path, sys.argv[1:3])
    mirror = Mirror(LocalTransport(box, python=sys.executable, marker={}), "run", RunDirectory(copy))
    words: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            words.put(line.strip())
        words.put("")

    threading.Thread(target=listen, daemon=True).start()
    word = before = "off"
    while True:
        try:
            before, word = word, words.get(timeout=_LOOK_S if word == "on" else None)
        except queue.Empty:
            mirror.pull()
            continue
        if not word:
            return
        if before == "on":
            mirror.pull()  # what an epoch has left, however short it was
        print(time.process_time(), flush=True)


if __name__ == "__main__":
    main()
