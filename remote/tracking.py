"""Reports a run to Weights & Biases from a process beside it, which nothing of the run waits for.

Whatever becomes of that process (killed, stalled, without a network), training does not notice: what it
reports lies in `events.jsonl`, and what W&B lacks in the end is sent by `ups-console wandb-sync`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from remote.journal import say
from remote.tracker import FINISH_S, FOLDER
from ups.rundir import RunDirectory, RunSpec
from ups.wandb_terms import Mode, terms_of

STOPPED_S = 5.0
"""The same where somebody waits for the run to end."""
RESTARTS = 2
RESTART_S = 10.0
"""Before a process that died is started again."""
_DEATH_S = 2.0
_OTHER_KEYS = ("B2_", "AWS_", "CONTAINER_", "VAST_", "VULTR_", "UPS_BOX_")

Warn = Callable[[str, str, str], None]
"""Called with (code, message, hint)."""


class Tracking:
    """The reporting of one run, from entering to `finish`; does nothing where W&B is switched off."""

    def __init__(
        self,
        directory: RunDirectory,
        spec: RunSpec,
        warn: Warn,
        *,
        finish_s: float = FINISH_S,
        restart_s: float = RESTART_S,
    ) -> None:
        self._directory = directory
        self._warn = warn
        self._finish_s = finish_s
        self._restart_s = restart_s
        self._mode = terms_of(spec.config.logging.wandb, os.environ).mode
        self._later = f"`ups-console wandb-sync {spec.run}` sends them later"
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._word: Mapping[str, Any] | None = None
        self._ending = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._keep_going, name="tracking", daemon=True)

    def __enter__(self) -> "Tracking":
        if self._mode is not Mode.DISABLED:
            self._thread.start()
        return self

    def finish(self, exit_code: int, summary: Mapping[str, Any], *, within_s: float | None = None) -> None:
        """Say how the run ended, and wait a moment for W&B to take the rest; by default as long as ever."""
        if not self._thread.is_alive():
            return
        with self._lock:
            self._word = {"exit_code": exit_code, "summary": dict(summary)}
            self._send_word()
        self._ending.set()
        patience_s = self._finish_s if within_s is None else min(within_s, self._finish_s)
        self._thread.join(patience_s)
        if self._thread.is_alive():
            self._kill()
            self._tell(f"W&B has not taken all metrics within {patience_s:g} s of the end")

    def __exit__(self, *_: object) -> None:
        self._kill()

    # --- beside the run ---------------------------------------------------------------------

    def _keep_going(self) -> None:
        """Have a process that reports; a few times another one where it died."""
        for restarts_left in reversed(range(RESTARTS + 1)):
            child = self._start()
            if child is None:
                return
            done = self._listen(child)
            code = child.wait()  # the end of its words is not yet its own
            if done or self._over:
                return
            again = f"it is started again in {self._restart_s:g} s" if restarts_left else "it is left at that"
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            self._tell(f"the process that reports to W&B ended {how}; {again}")
            self._ending.wait(self._restart_s)

    def _start(self) -> "subprocess.Popen[str] | None":
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_OTHER_KEYS)}
        command = [sys.executable, "-m", "remote", "track", str(self._directory.root)]
        with self._lock:
            if self._over:
                return None
            try:
                with self._log() as log:
                    self._child = subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                        env=environment, start_new_session=True,
                    )  # fmt: skip
            except OSError as error:
                self._tell(f"nothing is reported to W&B: {error.strerror or error}")
                return None
            self._send_word()
            return self._child

    def _log(self) -> IO[bytes]:
        folder = self._directory.root / FOLDER
        folder.mkdir(exist_ok=True)
        return (folder / "tracker.log").open("ab")

    def _send_word(self) -> None:
        if self._word is None or self._child is None or self._child.stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it is dead, or has it already
            self._child.stdin.write(json.dumps(self._word) + "\n")
            self._child.stdin.close()

    def _listen(self, child: "subprocess.Popen[str]") -> bool:
        """Pass on what it says until it ends; returns whether it has done its work."""
        done = False
        assert child.stdout is not None
        for line in child.stdout:
            try:
                word = json.loads(line)
            except ValueError:  # it was killed while it spoke
                continue
            done = done or bool(word.get("closed") or word.get("final"))
            if text := word.get("warning") or word.get("final"):
                self._tell(text, word.get("hint"))
            elif text := word.get("said"):
                say(text)
        return done

    def _tell(self, trouble: str, hint: str | None = None) -> None:
        with contextlib.suppress(Exception):  # a full disk is told by the run's own next event
            self._warn("wandb", trouble, hint or self._later)

    def _kill(self) -> None:
        """End the process, and the helpers that wandb has started in its session."""
        with self._lock:
            self._over = True
            child = self._child
        self._ending.set()
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_DEATH_S)
        if self._thread.is_alive():
            self._thread.join(_DEATH_S)
