"""Tables of a report as rows of cells, which a page renders."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.reports.content import ReportContent
from console.tui.drawing.text import duration, number, usd
from ups.events import PhaseState


@dataclass(frozen=True, slots=True)
class Flagged:
    """A cell that deserves a look."""

    text: str
    kind: str
    """`bad`, `warn` or `good`."""


Cell = str | Flagged


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, the columns, the rows; all but the first `words` columns hold figures."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    words: int = 1


_EXPLAINED = (
    "nRMSE. No skill: not better than persistence, which copies the last frame. "
    "Unguarded: the rollout without the guards."
)


def results(content: ReportContent) -> Iterator[Table]:
    """What the evaluation found, split by split, the test split first."""
    splits = _mapping(content.evaluation.get("splits"))
    shown = sorted(splits, key=lambda name: name != "test")
    for split in shown:
        found = _mapping(splits[split])
        tasks = {str(name): _mapping(values) for name, values in _mapping(found.get("tasks")).items()}
        if not tasks:
            continue
        rows = [_result_row(task, values) for task, values in tasks.items()]
        total = _mapping(found.get("aggregate"))
        if len(tasks) > 1 and total:
            rows.append(_result_row("mean", total))
        yield Table(
            f"{split} split",
            (
                "task",
                "one step",
                "± 95 %",
                "persistence",
                "rollout",
                "persistence",
                "unguarded",
                "diverged",
                "skill",
            ),
            rows,
            _EXPLAINED if split == shown[0] else "",
        )
        searched = _test_time_compute(split, _mapping(found.get("ttc")))
        if searched is not None:
            yield searched


def _result_row(task: str, values: Mapping[str, Any]) -> list[Cell]:
    skill = values.get("skill")
    told: Cell = "–" if skill is None else Flagged("yes", "good") if skill else Flagged("no skill", "bad")
    interval = values.get("one_step_interval")
    span = " … ".join(_figure(bound) for bound in interval) if isinstance(interval, list) else "–"
    diverged = values.get("diverged")
    return [
        task, _figure(values.get("one_step")), span, _figure(values.get("persistence_one_step")),
        _figure(values.get("rollout")), _figure(values.get("persistence_rollout")),
        _figure(values.get("rollout_unguarded")),
        Flagged(str(diverged), "warn") if diverged else "–" if diverged is None else "0", told,
    ]  # fmt: skip


def _test_time_compute(split: str, ttc: Mapping[str, Any]) -> Table | None:
    """Off beside on, where either search or averaging was used."""
    ways = {name: _mapping(ttc.get(name)) for name in ("off", "average", "on")}
    if not ways["off"] or not (ways["on"] or ways["average"]):
        return None
    tasks = _mapping(ways["off"].get("tasks"))
    rows: list[list[Cell]] = [
        [str(task), *(_figure(_mapping(way.get("tasks")).get(task)) for way in ways.values())]
        for task in tasks
    ]
    rows.append(["mean", *(_figure(way.get("aggregate")) for way in ways.values())])
    columns = ("task", "off", "average of candidates", "on")
    return Table(f"{split} split, test-time compute", columns, rows, "One-step nRMSE.")


def attempts(content: ReportContent) -> Table:
    rows: list[list[Cell]] = [
        [
            str(facts.number), facts.device or "–", moment(facts.started), moment(facts.ended),
            _status(facts.status), duration(facts.seconds),
        ]
        for facts in content.attempts
    ]  # fmt: skip
    return Table("attempts", ("attempt", "device", "from", "to", "end", "time"), rows, words=5)


def phases(content: ReportContent) -> Table:
    many = len(content.attempts) > 1
    rows: list[list[Cell]] = []
    for facts in content.attempts:
        for name, phase in facts.phases.items():
            known = phase.started is not None and phase.finished is not None
            seconds = (phase.finished or 0.0) - (phase.started or 0.0) if known else None
            state: Cell = str(phase.state)
            if phase.state is PhaseState.FAILED:
                state = Flagged(str(phase.state), "bad")
            label = f"{facts.number}: {name}" if many else name
            rows.append([label, state, phase.detail, duration(seconds)])
    return Table("phases", ("phase", "state", "", "time"), rows, words=3)


def costs(content: ReportContent) -> Table:
    rows: list[list[Cell]] = []
    for facts in content.instances:
        entry = facts.entry
        lived = (entry.ended if entry.ended is not None else content.written) - entry.created
        rows.append(
            [
                f"{entry.provider} {entry.provider_id or ''}".strip(),
                entry.what,
                str(entry.attempt or "–"),
                str(entry.state),
                duration(lived),
                f"{entry.usd_per_hour:.3g}",
                usd(facts.usd),
            ]
        )
    if len(rows) > 1:
        rows.append(["in all", "", "", "", "", "", usd(sum(facts.usd for facts in content.instances))])
    columns = ("instance", "machine", "attempt", "state", "time", "$/h", "cost")
    return Table("instances and cost", columns, rows, words=4)


def notices(content: ReportContent) -> Table:
    """Warnings and errors; the same one many times is one row."""
    counted: dict[tuple[bool, str, str, str], int] = {}
    for notice in content.notices:
        key = (notice.severe, notice.code, notice.message, notice.hint)
        counted[key] = counted.get(key, 0) + 1
    rows: list[list[Cell]] = [
        [Flagged("error", "bad") if severe else Flagged("warning", "warn"), code,
         f"{message} ({hint})" if hint else message, str(times)]
        for (severe, code, message, hint), times in counted.items()
    ]  # fmt: skip
    return Table("warnings and errors", ("", "code", "what", "times"), rows, words=3)


def gate_reasons(gates: Mapping[str, Any]) -> Iterable[str]:
    """Why the gates say what they say."""
    reasons = gates.get("reasons")
    return [str(reason) for reason in reasons] if isinstance(reasons, list) else []


def moment(t: float | None) -> str:
    """Local date and time of a Unix time, with its zone; a dash where there is none."""
    import time

    return "–" if t is None else time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(t))


def _status(status: str) -> Cell:
    kinds = {"succeeded": "good", "failed": "bad", "stopped": "warn"}
    return Flagged(status, kinds.get(status, "warn")) if status else Flagged("no end was told", "warn")


def _figure(value: Any) -> str:
    return number(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else "–"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
