"""A Weights & Biases account on disk: a package `wandb` that knows `Api().artifact(…).download(…)`.

Artifacts are folders `{entity}/{project}/{name}:{version}` below `SIMULATED_WANDB`; one that has a file
`.stall` begins to download and never ends.
"""

from pathlib import Path

_MODULE = """
import os, pathlib, shutil, time

class Api:
    def __init__(self, overrides=None, timeout=None, api_key=None):
        if os.environ["WANDB_API_KEY"] != "right":
            raise ValueError("API key verification failed")

    def artifact(self, name, type=None):
        folder = pathlib.Path(os.environ["SIMULATED_WANDB"], name)
        if not folder.is_dir():
            raise ValueError(f"artifact {name} not found")
        return Artifact(folder)

class Artifact:
    def __init__(self, folder):
        self._folder = folder
        self.size = sum(path.stat().st_size for path in folder.iterdir())

    def download(self, root=None, allow_missing_references=False, skip_cache=None):
        print("wandb: Downloading")
        for path in sorted(self._folder.iterdir()):
            if path.name == ".stall":
                time.sleep(600)
            shutil.copy(path, root)
        return root
"""


def simulate_wandb(folder: Path) -> dict[str, str]:
    """Make an empty account; returns the environment in which a Python process uses it."""
    package = folder / "package"
    package.mkdir(parents=True)
    (package / "wandb.py").write_text(_MODULE)
    return {
        "PYTHONPATH": str(package), "SIMULATED_WANDB": str(folder / "account"), "WANDB_API_KEY": "right",
        "WANDB_ENTITY": "team", "WANDB_PROJECT": "pde", "WANDB_MODE": "online",
    }  # fmt: skip


def artifact_folder(folder: Path, name: str) -> Path:
    """Where the files of an artifact of that account lie."""
    made = folder / "account" / "team" / "pde" / name
    made.mkdir(parents=True)
    return made
