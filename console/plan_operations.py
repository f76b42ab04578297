"""What a user can do with chains of runs: the next config of a run, and where a plan stands."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from console.api import LaunchRequest, NextStep, PhaseState, PlanState, RentOptions, RunRow
from console.errors import OverBudgetError
from console.run_operations import RunOperations
from console.store_operations import StoreOperations
from ups.errors import ConfigError, NotFoundError, UpsError, UsageError

if TYPE_CHECKING:
    from console.plan_standing import Price
    from ups.config import TrainConfig
    from ups.plan import Plan

DEFAULT_PLAN = Path("pdebench_scaling")


class PlanOperations(RunOperations, StoreOperations):
    """From the report of one run to the config of the next."""

    def next_config(self, run: str) -> NextStep:
        """The config that the gates of a run say comes next.

        Raises:
            NotFoundError: there is no such run, or it has no report yet.
            UsageError: its gates name none.
        """
        from console.runs import decisions

        return decisions.next_step(self.registry.find(run))

    def write_next(self, run: str, path: Path | None = None) -> Path:
        """Write that config to `path`, or to the user's configs; returns where. Raises like `next_config`.

        Raises:
            UsageError: there is another file.
        """
        from console.runs import decisions

        return decisions.write(self.next_config(run), self.home.configs, path)

    def plan(
        self, name: Path = DEFAULT_PLAN, *, rent: RentOptions | None = None, budget_usd: float | None = None
    ) -> PlanState:
        """Where a plan stands, what its next phase costs, and what is to come; changes and spends nothing.

        Args:
            name: path of a plan, or the name of a shipped one.
            rent: what would be rented, for the price.
            budget_usd: of the whole chain.

        Raises:
            ConfigError: there is no such plan, or it or a config of it is not valid.
            StoreError: the store cannot be read.
        """
        from console.plan_standing import Known, standing
        from console.runs import configs
        from ups.plan import load_plan

        path = configs.find_plan(name)
        plan = load_plan(path)
        runs, inventory = self.runs(), self.inventory()
        known = Known(
            runs=runs,
            datasets={row.task for row in inventory.datasets if row.state == "verified"},
            caches=inventory.caches,
            configs=_configs_of(plan, path),
            made=self._made(plan, runs),
            price=self._price(rent or RentOptions()),
        )
        return standing(path.stem, plan, known, budget_usd)

    def phase_request(self, state: PlanState, request: LaunchRequest) -> LaunchRequest:
        """What launches the phase that a plan is in; writes its config where a run's gates made it.

        Args:
            state: where the plan stands; its budget, less what is spent, becomes the cap of the run.
            request: how; its config and cache become the phase's.

        Raises:
            NotFoundError: the store lacks its data.
            OverBudgetError: the budget of the chain does not hold it.
            UsageError: there is nothing to launch.
        """
        phase = state.phase
        if phase is None:
            raise UsageError(f"all phases of {state.plan} are done")
        if phase.state is PhaseState.RUNNING:
            raise UsageError(f"{phase.name} is running: {phase.runs[0]}",
                             hint=f"`ups-console events {phase.runs[0]} -f` follows it")  # fmt: skip
        if phase.missing_data:
            missing = ",".join(phase.missing_data)
            raise NotFoundError(
                f"{phase.name} needs data that the store lacks: {missing}",
                hint=f"`ups-console preprocess --tasks {missing}`, or `ups-console data make TASK…`",
            )
        if phase.config is None:
            raise UsageError(f"{phase.name}: {phase.reason or 'there is nothing to launch'}",
                             hint="look at its report, and launch a config of your own named "
                                  "like the phase's, such as NAME-mine.yaml")  # fmt: skip
        rent = request.rent
        if state.budget_usd is not None:
            left = state.budget_usd - state.usd_spent
            if left <= 0 or (phase.expected_usd or 0.0) > left:
                expected = "unknown" if phase.expected_usd is None else f"${phase.expected_usd:.2f}"
                raise OverBudgetError(
                    f"{phase.name} costs {expected}, and ${max(0.0, left):.2f} are left of the chain's "
                    f"${state.budget_usd:.2f}",
                    hint="raise --budget, or look for a cheaper machine",
                )
            rent = replace(rent, budget_usd=left)
        return replace(
            request, config=self._config_path(phase.config, phase.after), rent=rent,
            cache_version=request.cache_version or phase.cache,
        )  # fmt: skip

    def _config_path(self, name: str, after: str | None) -> Path:
        """The file of the next config: a shipped one as it is, or one that is written."""
        from console.runs import configs

        if after is None:
            return configs.find(Path(name))
        step = self.next_config(after)
        if step.base == name and not step.patch:
            return configs.find(Path(name))
        return self.write_next(after)

    def _made(self, plan: "Plan", runs: list[RunRow]) -> "dict[str, TrainConfig]":
        """The next configs of the runs of a plan that have one."""
        import yaml

        from ups.config import parse_train_config

        found = {}
        for row in runs:
            if not row.next_config or not any(phase.has(row.config) for phase in plan.phases):
                continue
            try:
                text = self.next_config(row.run).text
            except UpsError:  # its config has gone, or the patch does not fit: the gates say no more
                continue
            found[row.run] = parse_train_config(yaml.safe_load(text))
        return found

    def _price(self, rent: RentOptions) -> "Price":
        from console.plan_standing import Price
        from console.runs.preflight import choose

        try:
            if rent.instance is not None:
                entry = self.ledger.find(rent.instance)
                return Price(entry.usd_per_hour, f"{entry.provider}'s {entry.what}, which is rented")
            offer = choose(self.site(rent.provider).rank(rent), rent)
        except UpsError as error:
            return Price(None, f"unknown: {error.message}")
        if offer.usd_per_hour == 0.0:
            return Price(0.0, "this machine costs nothing")
        return Price(offer.usd_per_hour, f"{offer.provider}'s {offer.gpu}")


def _configs_of(plan: "Plan", path: Path) -> "Mapping[str, TrainConfig]":
    from console.runs import configs

    found = {}
    for phase in plan.phases:
        for name in phase.configs:
            try:
                found[name] = configs.load(Path(name))[1]
            except ConfigError as error:
                raise ConfigError(f"{path}: {phase.name}: {error.message}", hint=error.hint) from None
    return found
