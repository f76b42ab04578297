"""From the create call to a run that trains, on a simulated provider with a real sshd on this machine.

Everything but the provider is real: the SDK, SSH, the watchdog, the wheel, the environment that inherits
this interpreter's torch. The second launch finds pip's caches and the wheel warm.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from console.fleet.ledger import Ledger
from console.fleet.model import InstanceState
from console.home import Home
from tests.simulators.cloud import Cloud, end_guard

BOOTSTRAP_S = 25.0
"""From the create call to the end of the bootstrap, with a warm wheel cache."""
CONFIG = """
seed: 3
data: {task: [advection1d]}
latent: {dim: 64, tokens: 64}
operator: {pdet: {input_dim: 64, hidden_dim: 32, depth: 1, num_heads: 2}, patch: {advection1d: 32}}
training: {batch_size: 4, samples_per_epoch: 48, refinement: {channels: 4}}
stages: {operator: {epochs: 1}}
evaluation: {rollout_steps: 2, validation_samples: 2}
"""


def main() -> int:
    """Measure, print, and return the exit code."""
    options = arguments(__doc__).parse_args()
    repetitions = 1 if options.quick else 3
    with tempfile.TemporaryDirectory(prefix="ups-rent-") as folder, Cloud(Path(folder) / "cloud") as cloud:
        laptop = Laptop(Path(folder), cloud)
        laptop.ups("data", "make", "advection1d", "--samples", "10")
        laptop.launch()  # fills the caches
        times = [laptop.launch() for _ in range(repetitions)]
        end_guard(Home(laptop.home))
    bootstrap, started = (sorted(values)[len(values) // 2] for values in zip(*times, strict=True))
    rows = [
        Row("create to the bootstrap's end", bootstrap, BOOTSTRAP_S, "bound", "s", "lower", 1.0),
        Row("create to a started run", started, BOOTSTRAP_S, "bound", "s", "lower"),
    ]
    return finish(rows, options.json)


class Laptop:
    """A home whose accounts are simulated."""

    def __init__(self, folder: Path, cloud: Cloud) -> None:
        self.home = folder / "home"
        self._config = folder / "tiny.yaml"
        self._config.write_text(CONFIG)
        self._environment = {**os.environ, **cloud.environment, "UPS_HOME": str(self.home)}
        self._environment.pop("UPS_STORE", None)

    def ups(self, *arguments: str) -> str:
        """Run the installed command."""
        command = Path(sys.executable).with_name("ups-console")
        done = subprocess.run(
            [command, *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"ups-console {' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout

    def launch(self) -> tuple[float, float]:
        """Seconds from the create call to the end of the bootstrap, and to the started run."""
        answer = self.ups(
            "launch", str(self._config), "--provider", "vast", "--budget", "1", "--detach", "--json"
        )
        run = str(json.loads(answer)["run"])
        ledger = Ledger(self.home / "ledger.db")
        (entry,) = ledger.of_run(run)
        times = {row.after: row.t for row in ledger.history(entry.label)}
        while ledger.entry(entry.label).state != InstanceState.DESTROYED:
            time.sleep(0.2)
        created = times[InstanceState.REQUESTED]
        return times[InstanceState.REACHABLE] - created, times[InstanceState.RUNNING] - created


if __name__ == "__main__":
    sys.exit(main())
