"""Everything that a worker may tell the screens. Workers post these; only handlers touch widgets."""

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from console.fleet.model import OfferQuery
    from console.operations import (
        Comparison,
        ConfigEntry,
        DatasetRow,
        DryStep,
        FleetState,
        Inventory,
        Launched,
        LaunchRequest,
        Market,
        Money,
        Preflight,
        RunRow,
        TeardownStep,
        Transition,
    )
    from console.runs.alerts import Alert
    from console.runs.replay import Replay
    from console.settings import NotifyTerms, Settings
    from console.tui.curves import Curves
    from console.tui.drawing.rollout import Rollout
    from console.tui.other_runs import OtherRun
    from console.tui.screens.history_rows import RunLine


class Told(Message):
    """Base of all of them."""


class Pointed(Message):
    """Base of what says that something else is pointed at: other keys may act on it."""


class OperationFailed(Told):
    """An operation raised; the text is for people."""

    def __init__(self, what: str, message: str, hint: str = "", code: str = "") -> None:
        super().__init__()
        self.what, self.text, self.hint, self.code = what, message, hint, code


class SettingsRead(Told):
    """config.toml and the environment were read."""

    def __init__(self, settings: "Settings") -> None:
        super().__init__()
        self.settings = settings


class MoneyRead(Told):
    """The figures of the top line."""

    def __init__(self, money: "Money") -> None:
        super().__init__()
        self.money = money

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, MoneyRead)


class AlertsRead(Told):
    """What calls for a person."""

    def __init__(self, alerts: "Sequence[Alert]", terms: "NotifyTerms") -> None:
        super().__init__()
        self.alerts, self.terms = alerts, terms


class Reconciled(Told):
    """The ledger was held against the providers."""

    def __init__(self, transitions: "Sequence[Transition]") -> None:
        super().__init__()
        self.transitions = transitions


class ConfigsRead(Told):
    """The configs that can be launched."""

    def __init__(self, configs: "Sequence[ConfigEntry]") -> None:
        super().__init__()
        self.configs = configs


class OffersRead(Told):
    """What each provider would rent."""

    def __init__(self, markets: "Sequence[Market]", query: "OfferQuery") -> None:
        super().__init__()
        self.markets, self.query = markets, query


class DryRunRead(Told):
    """What a launch would send."""

    def __init__(self, steps: "Sequence[DryStep]") -> None:
        super().__init__()
        self.steps = steps


class LaunchNamed(Told):
    """The run that is being launched has its id."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run = run


class LaunchFailed(Told):
    """A launch ended without a run."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__()
        self.text, self.hint = text, hint


class LaunchStepped(Told):
    """A launch did something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class DataRead(Told):
    """What the store holds of each task."""

    def __init__(self, datasets: "Sequence[DatasetRow]") -> None:
        super().__init__()
        self.datasets = datasets


class InventoryRead(Told):
    """What the store holds, and what it costs."""

    def __init__(self, inventory: "Inventory") -> None:
        super().__init__()
        self.inventory = inventory


class DeletionWeighed(Told):
    """Which living runs use what the user wants to delete."""

    def __init__(self, task: str, version: str, runs: "Sequence[str]") -> None:
        super().__init__()
        self.task, self.version, self.runs = task, version, runs


class DataProgressed(Told):
    """A data command came further."""

    def __init__(self, what: str, done: int, total: int) -> None:
        super().__init__()
        self.what, self.done, self.total = what, done, total

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, DataProgressed)


class DataChanged(Told):
    """A data command ended; `states` where it verified."""

    def __init__(self, done: str, states: "Mapping[str, str]") -> None:
        super().__init__()
        self.done, self.states = done, states


class PreflightRead(Told):
    """The checks for a request."""

    def __init__(self, request: "LaunchRequest", preflight: "Preflight") -> None:
        super().__init__()
        self.request, self.preflight = request, preflight


class RunLaunched(Told):
    """A run was started."""

    def __init__(self, launched: "Launched") -> None:
        super().__init__()
        self.launched = launched


class RunsRead(Told):
    """All runs, the newest first."""

    def __init__(self, runs: "Sequence[RunRow]") -> None:
        super().__init__()
        self.runs = runs


class LinesMade(Told):
    """All runs, as History shows them, the newest first."""

    def __init__(self, lines: "Sequence[RunLine]") -> None:
        super().__init__()
        self.lines = lines


class ReplayReady(Told):
    """A run can be played again."""

    def __init__(self, replay: "Replay") -> None:
        super().__init__()
        self.replay = replay


class CurvesRead(Told):
    """The curves of one of the runs that are compared."""

    def __init__(self, run: str, curves: "Mapping[str, Curves]") -> None:
        super().__init__()
        self.run, self.curves = run, curves


class ComparisonRead(Told):
    """Runs side by side."""

    def __init__(self, comparison: "Comparison") -> None:
        super().__init__()
        self.comparison = comparison


class OtherRunsRead(Told):
    """The runs to lay over the one that is shown were read."""

    def __init__(self, run: str, others: "Sequence[OtherRun]") -> None:
        super().__init__()
        self.run, self.others = run, others


class ReportRead(Told):
    """The evaluation of a run; None where it has none."""

    def __init__(self, run: str, report: "dict[str, object] | None") -> None:
        super().__init__()
        self.run, self.report = run, report


class NextWritten(Told):
    """The config that comes next after a run was written."""

    def __init__(self, path: "Path") -> None:
        super().__init__()
        self.path = path


class ReportWritten(Told):
    """The report of a run was written as a page."""

    def __init__(self, run: str, path: "Path") -> None:
        super().__init__()
        self.run, self.path = run, path


class FleetRead(Told):
    """All instances and volumes."""

    def __init__(self, state: "FleetState") -> None:
        super().__init__()
        self.state = state


class TransitionsRead(Told):
    """The history of an instance, and who guards it."""

    def __init__(self, label: str, transitions: "Sequence[Transition]", guards: "Sequence[str]") -> None:
        super().__init__()
        self.label, self.transitions, self.guards = label, transitions, guards


class VolumeDeleted(Told):
    """A block volume is gone."""

    def __init__(self, volume: str) -> None:
        super().__init__()
        self.volume = volume


class PageRead(Told):
    """Lines to be read on a page of their own."""

    def __init__(self, heading: str, lines: "Sequence[str]") -> None:
        super().__init__()
        self.heading, self.lines = heading, lines


class ShellReady(Told):
    """The command that opens a shell on a box."""

    def __init__(self, argv: "Sequence[str]") -> None:
        super().__init__()
        self.argv = list(argv)


class RunChanged(Told):
    """The followed run has something new; what it is lies in its `LiveRun`."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run = run

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunChanged) and message.run == self.run


class LogCounted(Told):
    """More lines of a log were counted or found; `done` where all that was asked for is."""

    def __init__(self, *, done: bool) -> None:
        super().__init__()
        self.done = done

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, LogCounted) and not message.done


class RolloutRead(Told):
    """A rollout file was read."""

    def __init__(self, key: tuple[str, int], rollout: "Rollout | None") -> None:
        super().__init__()
        self.key, self.rollout = key, rollout


class TeardownStepped(Told):
    """A teardown did something."""

    def __init__(self, target: str, step: "TeardownStep") -> None:
        super().__init__()
        self.target, self.step = target, step


class TeardownEnded(Told):
    """A teardown is over; `error` tells what is not verified."""

    def __init__(self, target: str, error: str | None) -> None:
        super().__init__()
        self.target, self.error = target, error
