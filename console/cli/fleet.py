"""Commands over instances and money."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from console.api import InstanceRow
from console.cli.app import Session, command
from console.cli.render import MARKS, duration, table
from console.cli.renting import machine_options, read_query
from console.fleet.model import LIVING, InstanceKind, Offer
from ups.errors import UpsError, UsageError

_VERIFY_PATIENCE_S = 300.0


def register(cli: click.Group) -> None:
    """Add the commands of this module."""

    @command(cli, "offers")
    @machine_options
    @click.option("--why", is_flag=True, help="Also what was passed over, and why.")
    def offers(session: Session, provider: str, why: bool, **options: Any) -> None:
        """What may be rented and will do, the best first."""
        market = session.operations.offers(provider, read_query(options))
        passed_over = [{**asdict(offer), "reason": reason} for offer, reason in market.passed_over]
        text = market.problem or _offers_table(market.offers)
        if why:
            lines = [[offer.id, f"{offer.usd_per_hour:.2f}", offer.gpu, offer.region, reason]
                     for offer, reason in market.passed_over]  # fmt: skip
            text += "\n\npassed over:\n" + table(["offer", "$/h", "GPU", "where", "why"], lines, right=(1,))
        elif passed_over:
            text += f"\n{len(passed_over)} more were passed over; --why says why"
        rows = [asdict(offer) for offer in market.offers]
        session.answer({"offers": rows, "passed_over": passed_over} if why else rows, text)

    @command(cli, "fleet")
    def fleet(session: Session) -> None:
        """Every instance: what it is, what it costs, and why."""
        rows = session.operations.fleet()
        for name, problem in session.operations.provider_problems().items():
            session.say(f"! {name} cannot be asked: {problem.message}")
        stalled = [f"! {row.instance or row.label}: {row.stalled}" for row in rows if row.stalled]
        session.answer([instance_json(row) for row in rows], "\n".join((_fleet_table(rows), *stalled)))

    @command(cli, "reconcile")
    def reconcile(session: Session) -> None:
        """Hold the ledger against the providers; finish teardowns that were left undone."""
        moves = session.operations.reconcile(patience_s=_VERIFY_PATIENCE_S, say=session.say)
        text = "\n".join(f"{move.label}  {move.before or ''} → {move.after}  {move.cause}" for move in moves)
        session.answer([asdict(move) for move in moves], text or "the ledger and the providers agree")

    @command(cli, "watch")
    @click.option(
        "--labels-only",
        is_flag=True,
        help="Destroy what is past the deadline in its label, without a ledger; for any host.",
    )
    @click.option("--once", is_flag=True, help="With --labels-only: look once.")
    @click.option("--linger", type=float, default=0.0, help="Seconds to wait for the first instance.")
    def watch(session: Session, labels_only: bool, once: bool, linger: float) -> None:
        """Guard: destroy what has no purpose any more, until nothing lives."""

        def say(text: str) -> None:
            now = time.time()
            if session.as_json:
                session.line({"t": round(now, 3), "text": text})
            else:
                click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))}  {text}")

        if once and not labels_only:
            raise UsageError("--once goes with --labels-only", hint="`ups-console reconcile` looks once")
        if labels_only:
            session.operations.watch_labels(say, once=once)
        else:
            session.operations.watch(say, linger_s=linger)

    @command(cli, "destroy")
    @click.argument("instances", nargs=-1)
    @click.option("--all", "everything", is_flag=True, help="Every living instance of ours.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @click.option("--dry-run", is_flag=True, help="Only say what would be destroyed.")
    def destroy(
        session: Session, instances: tuple[str, ...], everything: bool, yes: bool, dry_run: bool
    ) -> None:
        """Tear instances down: artifacts first, then the instance, then proof that it is gone."""
        if everything == bool(instances):
            raise UsageError("name instances, or --all", hint="`ups-console fleet` lists them")
        if everything:
            instances = tuple(
                row.instance if row.kind is InstanceKind.ORPHAN else row.label
                for row in session.operations.fleet()
                if row.kind is InstanceKind.ORPHAN or (row.kind is InstanceKind.OURS and row.state in LIVING)
            )
        if dry_run:
            session.answer({"would_destroy": instances}, "\n".join(instances) or "nothing")
            return
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


def _offers_table(offers: Sequence[Offer]) -> str:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    lines = [
        [offer.id, f"{offer.usd_per_hour:.2f}", f"{offer.num_gpus} × {offer.gpu}".removeprefix("0 × "),
         f"{offer.vram_gb:.0f} GB" if offer.vram_gb else "–", str(offer.cpu_cores), f"{offer.ram_gb:g} GB",
         f"{offer.disk_gb:g} GB", f"{offer.network_mbps:.0f} Mb/s" if offer.network_mbps else "–",
         share(offer.reliability), offer.region]
        for offer in offers
    ]  # fmt: skip
    header = ["offer", "$/h", "GPU", "VRAM", "cores", "memory", "disk", "network", "reliable", "where"]
    return table(header, lines, right=(1, 3, 4, 5, 6, 7, 8))


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
