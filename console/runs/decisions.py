"""What the decision gates of a run say, and the config that they make."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console.api import NextStep
from console.runs import configs
from console.runs.registry import RunHandle
from ups.errors import NotFoundError, UpsError, UsageError
from ups.rundir import RunDirectory

_PROCEED = "proceed"


def read_report(directory: RunDirectory) -> dict[str, Any]:
    """The evaluation of an attempt.

    Raises:
        NotFoundError: it has none yet.
    """
    try:
        report = json.loads(directory.report_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            f"{directory.root.parent.name} has no report yet", hint="a run writes it when it was evaluated"
        ) from None
    except ValueError:
        raise NotFoundError(f"{directory.report_path} is damaged") from None
    return dict(report)


def gates_of(handle: RunHandle, report: Mapping[str, Any]) -> dict[str, Any]:
    """What the gates say to a report, as `gates` in it.

    The box of a resumed run has seen the validation since the resume only, and an old report holds an
    aggregate only: these are judged again, with the curves of all attempts.

    Raises:
        NotFoundError, StoreError: the run's run.yaml cannot be read.
    """
    gates, attempts = report.get("gates"), handle.attempts()
    if isinstance(gates, Mapping) and "verdict" in gates and len(attempts) == 1:
        return dict(gates)
    from ups.evaluation import validation_curves
    from ups.evaluation.gates import decide

    config = attempts[0].read_spec().config
    curves = validation_curves.read(attempt.events_path for attempt in attempts)
    return decide(report, config, curves).to_json()


def known_gates(handle: RunHandle) -> dict[str, Any]:
    """The same of a run's newest report; {} where there is none, or it cannot be judged."""
    try:
        return gates_of(handle, read_report(handle.latest))
    except (UpsError, TypeError, AttributeError):
        return {}


def next_name_of(gates: Mapping[str, Any], config: str) -> str:
    """What comes next in a word: the shipped config, or what the verdict makes of the run's own."""
    following = gates.get("next")
    if not isinstance(following, Mapping):
        return ""
    return str(following.get("config") or f"{config}-{gates.get('verdict')}")


def next_step(handle: RunHandle) -> NextStep:
    """The config that comes after a run, made and validated.

    Raises:
        ConfigError: its patch does not fit.
        NotFoundError: the run has no report yet.
        UsageError: its gates name no next config.
    """
    from ups.config_patch import next_name, patched, render, without_action

    gates = gates_of(handle, read_report(handle.latest))
    spec = handle.attempts()[0].read_spec()
    verdict, reasons = str(gates.get("verdict") or ""), tuple(gates.get("reasons") or ())
    following = gates.get("next")
    if not isinstance(following, Mapping):
        raise UsageError(
            f"the gates of {handle.run} name no next config: {verdict or 'none are set'}"
            + (f", {'; '.join(reasons)}" if reasons else ""),
            hint="change a copy of its config, or go on with `ups-console launch CONFIG --set …`",
        )
    named, patch = following.get("config"), dict(following.get("patch") or {})
    if named is None:
        base, config = spec.name, without_action(patched(spec.config, patch), verdict)
    else:
        path, shipped = configs.load(Path(str(named)))
        base, config = path.stem, patched(shipped, patch)
    why = str(following.get("why") or "")
    heading = [f"After run {handle.run} of {spec.name}: {verdict}.", *reasons, *([why] if why else [])]
    return NextStep(
        run=handle.run,
        verdict=verdict,
        reasons=reasons,
        base=base,
        patch=patch,
        why=why,
        name=next_name(base, "next" if verdict == _PROCEED else verdict),
        text=render(config, "\n".join(heading)),
    )


def write(step: NextStep, folder: Path, path: Path | None = None) -> Path:
    """Write the config; one that is there already, with the same content, stays.

    Args:
        step: the config.
        folder: where it goes under its own name, or under that and a number.
        path: where it goes instead.

    Raises:
        UsageError: there is another file at `path`, or it cannot be written.
    """
    target = folder / f"{step.name}.yaml" if path is None else path
    number = 2
    while target.exists() and target.read_text(encoding="utf-8", errors="replace") != step.text:
        if path is not None:
            raise UsageError(f"{path} is there already", hint="remove it, or give another name")
        target, number = folder / f"{step.name}{number}.yaml", number + 1
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(step.text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    return target
