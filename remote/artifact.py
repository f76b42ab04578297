"""A Weights & Biases artifact as a folder of files.

The download runs in a process of its own (this module as a program): wandb starts services and threads
that would outlive the call, and a process that hears nothing any more can simply be ended.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ups.errors import NotFoundError

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all); may raise to stop."""

Answer = dict[str, Any]
"""`{"bytes": N}` before the files come, then `{"done": true}` or `{"error": why}`."""

SILENCE_S = 60.0
"""A download of which so long nothing comes is given up."""
_ANSWER_S = 15
"""How long W&B may take for an answer."""
_LOOK_S = 0.2
_MOST_SAID = 2**20
_OFF = ("offline", "disabled", "dryrun")


def download(key: str, folder: Path, progress: Progress, *, silence_s: float = SILENCE_S) -> None:
    """Put the files of the artifact `WANDB_ENTITY`/`WANDB_PROJECT`/`key` into a folder.

    Args:
        key: name of the artifact; without a version its latest is meant.
        folder: an empty folder, which is anything afterwards where this fails.
        progress: called with bytes.
        silence_s: longest time without a byte.

    Raises:
        NotFoundError: W&B may not be asked, does not answer, or has no such artifact.
    """
    name = qualified(key, os.environ)
    command = [sys.executable, "-m", "remote.artifact", name, str(folder)]
    with tempfile.TemporaryFile() as said:
        # a session of its own: wandb's helpers go with it
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            answer = _watched(process, said.fileno(), folder, progress, silence_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if answer.get("error"):
        raise NotFoundError(f"the W&B artifact {name}: {answer['error']}")


def qualified(key: str, environment: Mapping[str, str]) -> str:
    """The artifact's full name.

    Raises:
        NotFoundError: there is no key, or W&B is switched off.
    """
    mode = environment.get("WANDB_MODE", "").strip().lower()
    if mode in _OFF:
        raise NotFoundError(f"the W&B artifact {key}: WANDB_MODE is {mode}")
    if not environment.get("WANDB_API_KEY", "").strip():
        raise NotFoundError(f"the W&B artifact {key}: there is no WANDB_API_KEY")
    where = [environment.get(variable, "").strip() for variable in ("WANDB_ENTITY", "WANDB_PROJECT")]
    name = "/".join([*(part for part in where if part), key])
    return name if ":" in key else f"{name}:latest"


def _watched(
    process: "subprocess.Popen[bytes]", said: int, folder: Path, progress: Progress, silence_s: float
) -> Answer:
    """The last word of the downloading process; bytes are counted where they land."""
    done, heard_at = -1, time.monotonic()
    while True:
        over = process.poll() is not None
        answers = _answers(said)
        total = next((int(answer["bytes"]) for answer in answers if "bytes" in answer), 0)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if total and done < 0:
            progress(0, total)  # may find that there is no room for it
        if total and size != done:
            done, heard_at = size, time.monotonic()
            progress(min(done, total), total)
        if over:
            return answers[-1] if answers else {"error": f"the download ended with {process.returncode}"}
        if time.monotonic() - heard_at > silence_s:
            return {"error": f"nothing came for {silence_s:g} s"}
        time.sleep(_LOOK_S)


def _answers(said: int) -> list[Answer]:
    """What the downloading process has said so far, whole lines; others may print beside it."""
    lines = os.pread(said, _MOST_SAID, 0).decode(errors="replace").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]


def _fetch(name: str, folder: str) -> Answer:
    import wandb

    try:
        artifact = wandb.Api(timeout=_ANSWER_S).artifact(name)
        print(json.dumps({"bytes": artifact.size}), flush=True)
        artifact.download(root=folder, skip_cache=True)
    except Exception as error:  # noqa: BLE001 - the process boundary; wandb documents no single base
        return {"error": " ".join(str(error).split()) or type(error).__name__}
    return {"done": True}


def main() -> None:
    print(json.dumps(_fetch(*sys.argv[1:3])), flush=True)


if __name__ == "__main__":
    main()
