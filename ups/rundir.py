"""The run directory: the one contract between the box and the laptop.

    run.yaml        immutable: what is run, pinned to the sha256 of its data
    events.jsonl    append-only; the truth about the run (`ups.events`)
    run.log         raw stdout and stderr, for people
    checkpoints/    safetensors and state.json, atomic
    rollouts/       {task}-{step}.npz
    stages.json     what each stage has cost and reached
    report.json     the evaluation
    datasets.json   the sha256 of data that run.yaml does not pin, once they came by `DATASET_KEY`

Free of torch.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ups.config import EvalConfig, StageName, TrainConfig
from ups.errors import NotFoundError, StoreError
from ups.preprocess_job import PreprocessJob

DatasetPins = dict[str, dict[str, str]]
"""task → split → sha256 of the converted file."""

PRECOMPUTE_VARIABLE = "PRECOMPUTE_LATENT"
"""Environment: set to anything but 0 it asks for latent caches."""
RESET_VARIABLE = "RESET_CACHE"
"""Environment: likewise for building them anew."""


class RunSpec(BaseModel):
    """`run.yaml`: everything that decides what a run computes. Written once, never changed."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    run: str
    """Run id."""
    attempt: int = 1
    name: str
    """Name of the config."""
    created: float
    """Unix seconds."""
    config: TrainConfig
    tasks: tuple[str, ...]
    stages: tuple[StageName, ...]
    seed: int
    threads: int | None = None
    """CPU threads of torch, decided once so that a resumed run computes the same; null: torch's default."""
    store: str
    """URL of the store that holds the data and receives the results; no credentials."""
    datasets: DatasetPins
    precompute: bool = False
    """Train from a latent cache, built before if need be; `PRECOMPUTE_LATENT=1` asks for it too."""
    cache_version: str | None = None
    """Version of that cache; naming one asks for it. null: the version that is named after its shape."""
    cache_dtype: Literal["float16", "float32"] = "float16"
    """Of that cache: float16 takes half the room, float32 changes no bit of what is learned."""
    smoke: bool = False
    """Before training, take one step of everything in a directory of its own, and fail there if it fails."""
    evaluations: dict[str, EvalConfig] = {}
    """Split → how it is judged, where not by `config.evaluation`: such as with test-time compute."""
    variables: dict[str, str] = {}
    """Environment variables that it was launched with and that its machine heeds; no secrets."""
    runtime: str | None = None
    """sha256 of the wheel that a rented machine runs, or of the files of one where nothing is shipped."""
    code_version: str
    config_sha256: str
    preprocess: PreprocessJob | None = None
    """Convert published files into the store instead of training; run.yaml then has no `config`."""

    @model_validator(mode="before")
    @classmethod
    def _with_config(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("preprocess") and not content.get("config"):
            return {**content, "config": no_training(content.get("tasks") or ())}
        return content


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of a run directory; creates nothing by itself."""

    root: Path

    @property
    def spec_path(self) -> Path:
        return self.root / "run.yaml"

    @property
    def events_path(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def log_path(self) -> Path:
        return self.root / "run.log"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def rollouts(self) -> Path:
        return self.root / "rollouts"

    @property
    def stages_path(self) -> Path:
        return self.root / "stages.json"

    @property
    def datasets_path(self) -> Path:
        return self.root / "datasets.json"

    @property
    def report_path(self) -> Path:
        return self.root / "report.json"

    def read_spec(self) -> RunSpec:
        """Raises NotFoundError where this is no run directory, StoreError where run.yaml is damaged."""
        try:
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times as fast
            return RunSpec.model_validate(
                yaml.load(self.spec_path.read_text(encoding="utf-8"), Loader=loader)
            )
        except FileNotFoundError:
            raise NotFoundError(f"{self.root} is no run directory: it has no run.yaml") from None
        except (ValidationError, yaml.YAMLError) as error:
            raise StoreError(f"{self.spec_path} is damaged: {error}") from None


def render_spec(spec: RunSpec) -> str:
    """The text of run.yaml."""
    left_out = {"config"} if spec.preprocess is not None else None
    content = json.loads(spec.model_dump_json(exclude=left_out))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def no_training(tasks: Sequence[str]) -> TrainConfig:
    """The config of a run that does not train, of no account."""
    return TrainConfig.model_validate({"data": {"task": list(tasks)}, "stages": {"operator": {"epochs": 1}}})


def config_sha256(config: TrainConfig | Mapping[str, Any]) -> str:
    """Hash of a resolved config, equal for equal content."""
    content = config.model_dump(mode="json") if isinstance(config, TrainConfig) else config
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def code_version() -> str:
    """Version of the installed distribution."""
    return metadata.version("ups-console")
