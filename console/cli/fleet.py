"""Commands over instances and money."""

import time
from dataclasses import asdict

import click

from console.api import InstanceRow
from console.cli.app import Session, command
from console.cli.render import MARKS, duration, table
from console.fleet.model import LIVING, InstanceKind
from ups.errors import UpsError, UsageError


def register(cli: click.Group) -> None:
    """Add the commands of this module."""

    @command(cli, "offers")
    @click.option("--provider", default="local", show_default=True)
    def offers(session: Session, provider: str) -> None:
        """What may be rented, the cheapest first."""
        rows = session.operations.offers(provider)
        lines = [
            [offer.id, f"{offer.usd_per_hour:.2f}", offer.gpu, str(offer.cpu_cores), f"{offer.ram_gb:g} GB",
             f"{offer.disk_gb:g} GB", offer.region]
            for offer in rows
        ]  # fmt: skip
        session.answer(
            [asdict(offer) for offer in rows],
            table(["offer", "$/h", "GPU", "cores", "memory", "disk", "where"], lines, right=(1, 3, 4, 5)),
        )

    @command(cli, "fleet")
    def fleet(session: Session) -> None:
        """Every instance: what it is, what it costs, and why."""
        rows = session.operations.fleet()
        session.answer([instance_json(row) for row in rows], _fleet_table(rows))

    @command(cli, "reconcile")
    def reconcile(session: Session) -> None:
        """Hold the ledger against the providers; finish teardowns that were left undone."""
        moves = session.operations.reconcile()
        text = "\n".join(f"{move.label}  {move.before or ''} → {move.after}  {move.cause}" for move in moves)
        session.answer([asdict(move) for move in moves], text or "the ledger and the providers agree")

    @command(cli, "destroy")
    @click.argument("instances", nargs=-1)
    @click.option("--all", "everything", is_flag=True, help="Every living instance of ours.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def destroy(session: Session, instances: tuple[str, ...], everything: bool, yes: bool) -> None:
        """Tear instances down: artifacts first, then the instance, then proof that it is gone."""
        if everything == bool(instances):
            raise UsageError("name instances, or --all", hint="`ups-console fleet` lists them")
        if everything:
            instances = tuple(
                row.label
                for row in session.operations.fleet()
                if row.kind is InstanceKind.ORPHAN or (row.kind is InstanceKind.OURS and row.state in LIVING)
            )
        if instances and not yes:
            click.confirm(f"destroy {len(instances)} instance(s)?", abort=True)
        destroyed, failures = [], []
        for name in instances:
            try:
                for step in session.operations.teardown(name):
                    session.say(step.text)
                destroyed.append(name)
            except UpsError as error:
                session.say(f"{name}: {error.message}")
                failures.append(error)
        session.answer({"destroyed": destroyed}, f"destroyed {len(destroyed)}")
        if failures:
            raise failures[0]

    @command(cli, "doctor")
    def doctor(session: Session) -> None:
        """What is configured and what is missing; spends nothing."""
        checks = session.operations.doctor()
        text = "\n".join(
            f"{MARKS[check.level]} {check.text}" + (f"\n    {check.hint}" if check.hint else "")
            for check in checks
        )
        session.answer([asdict(check) for check in checks], text)


def instance_json(row: InstanceRow) -> dict[str, object]:
    """The fleet's JSON of an instance."""
    return {**asdict(row), "usd": round(row.usd, 4)}


def _fleet_table(rows: list[InstanceRow]) -> str:
    now = time.time()
    lines = [
        [
            row.instance or "–",
            row.provider,
            row.what,
            str(row.state) if row.kind is InstanceKind.OURS else str(row.kind),
            duration(now - row.created),
            f"{row.usd_per_hour:.2f}",
            f"{row.usd:.2f}",
            row.run or "–",
            duration(now - row.last_sign) + " ago" if row.last_sign else "–",
        ]
        for row in rows
    ]
    header = ["instance", "provider", "what", "state", "age", "$/h", "spent", "run", "last sign"]
    return table(header, lines, right=(4, 5, 6))
