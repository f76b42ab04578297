"""Publishes checkpoints while a run trains, from a process beside it, which training never waits for.

Each new checkpoint is a word to that process. One that comes while it is busy makes it look once more when
it is done: where publishing takes longer than an epoch, it skips to the newest. What it could not do is
done, or told, when the results of the run are published.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from remote.publish import Published, Publisher
from ups.errors import UpsError
from ups.ranks import LostProcessError
from ups.rundir import RunDirectory
from ups.store import open_store

PUBLISH_S = 2.0
"""Least time between two looks for what is new."""
_TAIL_SHARE = 1 / 20
"""Of the time that log and events, of which all are sent each time, may take at most."""
_NICE = 10
_NEW, _OVER, _TOLD = "new", "over", "told"
"""What the run says: there is a checkpoint, no more will come, and what was published is in its events."""

Warn = Callable[[str, str, str], None]
"""Called with (code, message, hint)."""


class Publishing:
    """The process that publishes a run's checkpoints; there is one from the first checkpoint on.

    Leaving it waits until what it is about to send is sent.
    """

    def __init__(self, directory: RunDirectory, published: Published, warn: Warn) -> None:
        self._directory = directory
        self._published = published
        self._warn = warn
        self._child: subprocess.Popen[str] | None = None
        self._speaking = threading.Lock()
        self._listener: threading.Thread | None = None

    def checkpoint(self) -> None:
        """There is a new checkpoint."""
        if self._child is None or self._child.poll() is not None:
            self._start()
        _say(self._child, _NEW, self._speaking)

    def __enter__(self) -> "Publishing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is None or self._listener is None:
            return
        if isinstance(error, LostProcessError):  # all shall start anew at once
            self._child.kill()
        _say(self._child, _OVER, self._speaking)
        self._listener.join()

    def _start(self) -> None:
        command = [sys.executable, "-m", "remote", "publish", str(self._directory.root), "--follow"]
        try:
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            self._tell(f"no checkpoint can be published: {error.strerror or error}")
            return
        self._listener = threading.Thread(target=self._listen, args=(self._child,), name="publishing")
        self._listener.start()

    def _listen(self, child: "subprocess.Popen[str]") -> None:
        """Pass on what it says until it ends."""
        assert child.stdout is not None
        assert child.stdin is not None
        for line in child.stdout:
            with contextlib.suppress(ValueError):  # it was killed while it spoke
                self._hear(json.loads(line))
                _say(child, _TOLD, self._speaking)
        code = child.wait()
        if code:
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            self._tell(f"the process that publishes checkpoints ended {how}")
        with contextlib.suppress(OSError):
            child.stdin.close()
        child.stdout.close()

    def _hear(self, word: Mapping[str, Any]) -> None:
        with contextlib.suppress(UpsError, OSError):  # a full disk is told by the run's own next event
            if "path" in word:
                self._published(word["path"], word["where"], word["sha256"])
            else:
                self._warn("publish", word["warning"], word["hint"])

    def _tell(self, trouble: str) -> None:
        with contextlib.suppress(UpsError, OSError):
            self._warn("publish", trouble, "the next checkpoint is tried again, and the end of the run")


def _say(child: "subprocess.Popen[str] | None", word: str, speaking: threading.Lock) -> None:
    if child is not None and child.stdin is not None:
        with speaking, contextlib.suppress(OSError, ValueError):  # it is dead
            child.stdin.write(word + "\n")
            child.stdin.flush()


class _Words:
    """What the run says on stdin; where it falls silent this process has nothing left to do."""

    def __init__(self) -> None:
        self._said = threading.Condition()
        self._told = threading.Semaphore(0)
        self._new = self._over = False
        threading.Thread(target=self._listen, name="words", daemon=True).start()

    def next(self, rest_s: float) -> bool:
        """Wait until there is a new checkpoint, and at least so long; False once the run needs no more."""
        with self._said:
            self._said.wait_for(lambda: self._over, rest_s)
            self._said.wait_for(lambda: self._over or self._new)
            self._new = False
            return not self._over

    def tell(self, word: Mapping[str, Any]) -> None:
        """Say something on stdout, one JSON object a line, and wait until the run has told it.

        Only then may it be noted as done: where all are killed in between, whoever goes on tells it.
        """
        print(json.dumps(word), flush=True)
        self._told.acquire()

    def _listen(self) -> None:
        for word in map(str.strip, sys.stdin):
            if word == _TOLD:
                self._told.release()
                continue
            with self._said:
                self._new, self._over = True, word == _OVER
                self._said.notify_all()
        os._exit(1)  # the run was killed: whoever goes on with it publishes


def follow(directory: RunDirectory) -> int:
    """Publish each new checkpoint that stdin tells of, until the run needs no more; returns the exit code.

    What has been published is said on stdout, and noted once the run has told it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the run decides
    with contextlib.suppress(OSError):
        os.nice(_NICE)  # training comes first
    words, rest_s = _Words(), 0.0
    spec = directory.read_spec()

    def published(path: str, where: str, sha256: str) -> None:
        words.tell({"path": path, "where": where, "sha256": sha256})

    publisher = Publisher(open_store(spec.store), spec, directory, published)
    while words.next(rest_s):
        rest_s = PUBLISH_S
        try:
            publisher.publish_checkpoints()
            # where this machine is lost, the curves have to reach the checkpoint that another goes on from
            began = time.monotonic()
            publisher.publish_tail(announce=False)
            rest_s += (time.monotonic() - began) / _TAIL_SHARE
        except UpsError as error:  # the checkpoint is safe here
            trouble = f"a checkpoint could not be published: {error.message}"
            words.tell({"warning": trouble, "hint": error.hint})
        except FileNotFoundError:
            pass  # it is not current any more, and the next one comes soon
    return 0
