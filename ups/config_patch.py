"""The next config of a chain of runs: one that there is, with a patch, as YAML that people can go on from.

Free of torch.
"""

import copy
from collections.abc import Container, Mapping
from typing import Any

import yaml

from ups.config import TrainConfig, parse_train_config
from ups.yaml_config import write_key


def patched(config: TrainConfig, patch: Mapping[str, Any]) -> TrainConfig:
    """A config with `key.path: value` pairs written into it.

    Raises:
        ConfigError: there is no such key, or the values do not fit; names the key.
    """
    content = config.model_dump(mode="json")
    for key, value in patch.items():
        write_key(content, key, copy.deepcopy(value), f"patch {key}")
    return parse_train_config(content, "patch")


def without_action(config: TrainConfig, verdict: str) -> TrainConfig:
    """The config without the action of that verdict among its gates: what did not help once is not redone."""
    kept = tuple(action for action in config.gates.actions if action.verdict != verdict)
    return config.model_copy(update={"gates": config.gates.model_copy(update={"actions": kept})})


def changes(config: TrainConfig, patch: Mapping[str, Any]) -> bool:
    """Whether a patch makes another config of it. Raises like `patched`."""
    return patched(config, patch) != config


def render(config: TrainConfig, heading: str = "") -> str:
    """The config as a YAML file: what differs from the defaults, in the schema's order, below a comment."""
    content = config.model_dump(mode="json", exclude_defaults=True)
    comment = "".join(f"# {line}\n" if line else "#\n" for line in heading.splitlines())
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return comment + text


def next_name(base: str, verdict: str, taken: Container[str] = ()) -> str:
    """The name of a config that a verdict makes of `base`: `base-verdict`, the verdicts one after the other.

    Args:
        base: name of the config that is patched.
        verdict: of the run.
        taken: names that are in use; a number is added where they have it.
    """
    name, number = f"{base}-{verdict}", 2
    while name in taken:
        name, number = f"{base}-{verdict}{number}", number + 1
    return name


class _Dumper(yaml.SafeDumper):
    """Lists of plain values in one line, as people write them."""


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, (dict, list)) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


_Dumper.add_representer(list, _list)
