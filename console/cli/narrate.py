"""A run told line by line, for people who follow it without a screen, and its report as tables."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from console.api import FollowBatch, Progress
from console.cli.render import duration, number, table
from console.context import pass_on
from console.runs.event_lines import AnyEvent
from console.runs.series import RunView
from ups.events import EventType

_SYMBOL = {"started": "▶", "finished": "✓", "skipped": "–", "failed": "✗"}
_STEPWISE = frozenset({"preprocess"})


class Narrator:
    """Turns batches into lines; keeps what it needs for the ETA."""

    def __init__(self) -> None:
        self.view = RunView()
        self.step_t = 0.0
        """Unix seconds of the step that is told."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """Tasks whose datasets the run has made; empty before its end, and of a training."""
        summary = (self.view.done or {}).get("summary") or {}
        return tuple(str(outcome.get("task")) for outcome in summary.get("datasets") or ())

    @property
    def ended_early(self) -> str:
        """Why a run had to end before its time; empty where it did not."""
        done = self.view.done or {}
        return (
            str((done.get("summary") or {}).get("ended_early") or "")
            if done.get("status") == "stopped"
            else ""
        )

    def lines(self, batch: FollowBatch) -> Iterator[str]:
        """The lines of one batch, in the order in which things happened."""
        moments = [(move.t, f"instance {move.after}: {move.cause}") for move in batch.transitions]
        for event in batch.events:
            self.view.apply(event)
            text = self._text(event)
            if text:
                moments.append((event.t, text))
        for t, text in sorted(moments, key=lambda moment: moment[0]):
            yield f"{time.strftime('%H:%M:%S', time.localtime(t))}  {text}"

    def steps(self, batch: FollowBatch, progress: Progress) -> None:
        """Tell of the steps of those phases that do one thing after another."""
        for event in batch.events:
            if event.type == EventType.PROGRESS and event.fields.get("phase") in _STEPWISE:
                self.step_t = event.t
                pass_on(event.fields, progress)

    def _text(self, event: AnyEvent) -> str | None:
        fields = event.fields
        match event.type:
            case EventType.RUN:
                tasks = ", ".join(fields.get("tasks", ()))
                return f"run {fields.get('name')} on {fields.get('device')}: {tasks}"
            case EventType.PHASE:
                mark = _SYMBOL.get(str(fields.get("state")), "?")
                return f"{mark} {fields.get('phase')} {fields.get('detail') or ''}".rstrip()
            case EventType.METRIC:
                return self._metric(fields)
            case EventType.RESUMED:
                return (
                    f"resumed at {fields.get('stage')} epoch {fields.get('epoch')}, step {fields.get('step')}"
                )
            case EventType.WARNING | EventType.ERROR:
                hint = f" ({fields['hint']})" if fields.get("hint") else ""
                return f"! {fields.get('message')}{hint}"
            case EventType.DONE:
                return f"done {fields.get('status')}" + (f": {self.ended_early}" if self.ended_early else "")
        return None

    def _metric(self, fields: Mapping[str, Any]) -> str | None:
        if fields.get("split") != "val":
            return None
        if fields.get("task") is None:
            told = self.view.forecasts.get(None)
            return (
                f"{fields.get('stage')} epoch {int(fields.get('epoch') or 0):>3}  {told.text()}"
                if told
                else None
            )
        values = fields.get("values") or {}
        train = self.view.latest(fields["task"], "train", "loss")
        phase = self.view.phases["train"]
        progress = f"{phase.done:g}/{phase.total:g}" if phase.total else ""
        return (
            f"{fields.get('stage')} epoch {int(fields.get('epoch') or 0):>3}  {fields['task']:<20} "
            f"train {number(train)}  val {number(values.get('nrmse'))}  "
            f"copy {number(values.get('persistence'))}  {progress}  ETA {duration(self.view.eta_seconds)}"
        )


def report_text(report: Mapping[str, Any]) -> str:
    """The evaluation as a table per split."""
    parts = []
    for split, content in report.get("splits", {}).items():
        rows = [
            [
                task,
                number(values.get("one_step")),
                number(values.get("persistence_one_step")),
                number(values.get("rollout")),
                number(values.get("persistence_rollout")),
                "yes" if values.get("skill") else "no skill",
            ]
            for task, values in content.get("tasks", {}).items()
        ]
        header = [f"{split} split", "one-step nRMSE", "copy", "rollout nRMSE", "copy", "skill"]
        parts.append(table(header, rows, right=(1, 2, 3, 4)))
        if "search" in (content.get("ttc") or {}):
            parts.append(_ttc_text(content["ttc"]))
    if len(report.get("stages") or {}) > 1:
        parts.append(_stages_text(report["stages"]))
    if (report.get("gates") or {}).get("verdict"):
        parts.append(_gates_text(report["gates"]))
    return "\n\n".join(parts)


def _gates_text(gates: Mapping[str, Any]) -> str:
    """What the decision gates say, why, and what comes next."""
    lines = [f"gates: {gates['verdict']}", *(f"  {reason}" for reason in gates.get("reasons") or ())]
    following = gates.get("next")
    if following:
        lines.append(f"next: {following.get('config') or 'the same config'}")
        lines += [f"  {key}: {json.dumps(value)}" for key, value in (following.get("patch") or {}).items()]
        if following.get("why"):
            lines.append(f"  {following['why']}")
    return "\n".join(lines)


def _ttc_text(ttc: Mapping[str, Any]) -> str:
    """One step without test-time compute, with the average of the candidates, with the chosen ones."""
    rows = [
        [task, *(number(ttc[way]["tasks"][task]) if ttc[way] else "–" for way in ("off", "average", "on"))]
        for task in ttc["off"]["tasks"]
    ]
    return table(["one-step nRMSE", "one", "average", "chosen"], rows, right=(1, 2, 3))


def _stages_text(stages: Mapping[str, Any]) -> str:
    """Each stage's validation beside the operator continued with as much compute."""
    rows = []
    for stage, content in stages.items():
        continued = content.get("operator_continued") or {}
        used = "stage" if content["used"] else "operator continued" if continued.get("used") else ""
        scores = (number(content["score"]), number(continued["score"]) if continued else "–")
        rows.append([stage, *scores, used])
    return table(["stage", "validation nRMSE", "operator continued", "used"], rows, right=(1, 2))
