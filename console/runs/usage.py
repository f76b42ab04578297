"""Which runs used which data, from the `run.yaml`s below the home: what each pinned.

They are read as plain YAML, not through the schema: a run of any version counts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.runs.registry import Registry


@dataclass(frozen=True, slots=True)
class RunUse:
    """What one run was trained on."""

    run: str
    tasks: tuple[str, ...]
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """task → split → sha256 of the converted file."""
    cache_version: str = ""
    """Empty where it used no latent cache."""
    store: str = ""
    """URL of the store that held its data."""

    def used_dataset(self, task: str, sha256s: Mapping[str, str]) -> bool:
        """Whether it was trained on these very files of a task; on any, where it pinned nothing."""
        if task not in self.tasks:
            return False
        pinned = self.pins.get(task, {})
        return all(sha256s.get(split, "") in ("", sha256) for split, sha256 in pinned.items())

    def used_cache(self, version: str, task: str) -> bool:
        return self.cache_version == version and task in self.tasks


def uses(registry: Registry) -> list[RunUse]:
    """What every training used, the newest run first; without damaged run directories."""
    found = []
    for handle in registry.all():
        spec = read_plain(handle.attempts()[0].spec_path)
        if spec is not None and not spec.get("preprocess"):
            found.append(_use(handle.run, spec))
    return found


def spec_texts(registry: Registry) -> Iterator[str]:
    """The text of every attempt's `run.yaml`."""
    for path in registry.root.glob("*/attempt-*/run.yaml"):
        try:
            yield path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue


def read_plain(path: Path) -> Mapping[str, Any] | None:
    """A `run.yaml` as it is, None where it is damaged."""
    import yaml  # here: the first frame does not wait for it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(path.read_bytes(), Loader=loader)
    except (OSError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def _use(run: str, spec: Mapping[str, Any]) -> RunUse:
    pins, tasks = spec.get("datasets"), spec.get("tasks")
    return RunUse(
        run=run,
        tasks=tuple(map(str, tasks)) if isinstance(tasks, list) else (),
        pins={
            str(task): {str(split): str(sha256) for split, sha256 in splits.items()}
            for task, splits in (pins if isinstance(pins, dict) else {}).items()
            if isinstance(splits, dict)
        },
        cache_version=cache_version(spec),
        store=str(spec.get("store") or ""),
    )


def cache_version(spec: Mapping[str, Any]) -> str:
    """Version of the latent cache that a run trains from; empty where it uses none."""
    if spec.get("cache_version"):
        return str(spec["cache_version"])
    latent = (spec.get("config") or {}).get("latent") or {}
    return f"upt_{latent.get('dim')}d_{latent.get('tokens')}tok" if spec.get("precompute") else ""
