"""The whole job in a cloud on this machine: `make demo-cloud`. No account anywhere, nothing to pay.

A provider's API, a machine behind a real sshd and a bucket are simulated; the console, the runtime, SSH,
the training and every byte of traffic are real, as in the cloud itself.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from console.home import Home
from tests.simulators.cloud import Cloud, end_guard

TASKS = ("advection1d", "darcy2d")
CONFIG = Path("configs/local_2task.yaml")


def main() -> int:
    """Run the demonstration; the exit code is the launch's, or 1 where anything stays rented."""
    parser = argparse.ArgumentParser(prog="make demo-cloud", description=main.__doc__)
    parser.add_argument("--provider", choices=("vast", "vultr"), default="vast")
    parser.add_argument("--gpu", default="", help="model to ask for; default: the cheapest that will do")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--console", action="store_true", help="open the console in that cloud instead")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind then either
    with tempfile.TemporaryDirectory(prefix="ups-cloud-") as folder, Cloud(Path(folder) / "cloud") as cloud:
        environment = {**os.environ, **cloud.environment, "UPS_HOME": str(Path(folder) / "home")}
        environment.pop("UPS_STORE", None)
        _say(f"{options.provider} at {cloud.vast.url}, a bucket at {environment['B2_S3_ENDPOINT']}")
        try:
            _ups(environment, "data", "make", *TASKS)
            if options.console:
                return _ups(environment)
            code = _job(environment, options)
            return code or _account(cloud, environment)
        finally:
            end_guard(Home(Path(environment["UPS_HOME"])))


def _job(environment: dict[str, str], options: argparse.Namespace) -> int:
    _say("what may be rented")
    gpu = ("--gpu", options.gpu) if options.gpu else ()
    _ups(environment, "offers", "--provider", options.provider, *gpu)
    _say("renting, shipping, training, evaluating, publishing, tearing down")
    began = time.monotonic()
    code = _ups(
        environment, "launch", str(options.config), "--provider", options.provider, *gpu,
        "--max-hours", "1", "--budget", "1", "--note", "a demonstration",
    )  # fmt: skip
    _say(f"that took {time.monotonic() - began:.0f} s")
    return code


def _account(cloud: Cloud, environment: dict[str, str]) -> int:
    """What is left: no instance, and the results in the bucket."""
    _say("the fleet, as the console knows it")
    _ups(environment, "fleet")
    _ups(environment, "runs")
    alive = cloud.alive()
    _say(f"instances that the provider still has: {len(alive)} {json.dumps(alive) if alive else ''}")
    return 1 if alive else 0


def _ups(environment: dict[str, str], *arguments: str) -> int:
    command = Path(sys.executable).with_name("ups-console")
    print(f"\n$ ups-console {' '.join(arguments)}", flush=True)
    return subprocess.run([command, *arguments], env=environment, check=False).returncode


def _say(text: str) -> None:
    print(f"\n━━ {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
