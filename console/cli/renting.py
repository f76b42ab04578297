"""The options of every command that rents: which provider, which machine, how long and how dear."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from console.api import RentOptions
from console.cli.variables import is_from_variable, variable_option
from console.fleet.model import OfferQuery
from ups.errors import UsageError

_F = TypeVar("_F", bound=Callable[..., Any])
_POSITIVE = click.FloatRange(min=0, min_open=True)

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 60.0}


def seconds(text: str) -> float:
    """A length of time such as `90s`, `15m` or `2h`; a bare number is minutes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no length of time: write 90s, 15m or 2h")
    return float(found[1]) * _UNITS[found[2]]


_MACHINE = (
    click.option("--provider", default="local", show_default=True, help="local, vast or vultr."),
    variable_option("--gpu", variable="GPU_PREF", help="GPU model, such as RTX_4090; default: any."),
    variable_option("--fallback", "fallbacks", multiple=True, metavar="GPU", variable="FALLBACK_GPU",
                    help="What will do where the wanted GPU is not to be had; in this order."),
    click.option("--num-gpus", type=click.IntRange(min=1), default=1, show_default=True),
    click.option("--min-vram", type=_POSITIVE, metavar="GB", help="Of each GPU."),
    variable_option("--disk", type=_POSITIVE, default=128.0, show_default=True, metavar="GB",
                    variable="DISK_GB"),
    click.option("--min-network", type=_POSITIVE, metavar="MBPS", help="Of the way to the box."),
    click.option("--min-reliability", type=click.FloatRange(0, 1), default=0.95, show_default=True),
    click.option("--cuda", type=_POSITIVE, help="The CUDA release of the image."),
    click.option("--region", help="Country or data centre."),
    click.option("--max-price", type=_POSITIVE, metavar="USD", help="An hour, disk included."),
    click.option("--spot", is_flag=True, help="Bid for machines that may be taken away again."),
)  # fmt: skip
_RENT = (
    click.option("--offer-id", help="Rent this offer."),
    click.option("--plan-id", metavar="P", help="Vultr: rent this plan."),
    click.option("--instance", help="Run on this kept instance."),
    click.option("--instances", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
                 help="Rent so many of one kind, which work on it together."),
    click.option("--retries", type=click.IntRange(min=0), default=3, show_default=True, metavar="N",
                 help="Go on elsewhere so often, from the last checkpoint, when the machine is lost."),
    click.option("--keep/--auto-shutdown", " /--auto-stop", help="Keep the instance when the run has ended."),
    click.option("--keep-on-failure", type=seconds, default="0", metavar="15m",
                 help="Hold the box of a failed run so long, for a look."),
    click.option("--max-hours", type=_POSITIVE, default=12.0, show_default=True,
                 help="After so many hours the instance ends, whatever runs."),
    click.option("--budget", type=click.FloatRange(min=0), help="Cap of this run in USD."),
    click.option("--smoke/--no-smoke", default=True, show_default=True,
                 help="A rented box tries one step of everything before it trains."),
    variable_option("--image", default="", variable="IMAGE",
                    help="Docker image; default: one with a torch that fits."),
    click.option("--os-id", default="", help="Vultr: operating system instead of an image."),
    click.option("--volume-size", type=_POSITIVE, metavar="GB", help="Vultr: a block volume of this size."),
    click.option("--keep-volume", is_flag=True, help="The volume outlives the instance and goes on costing."),
)  # fmt: skip


def machine_options(function: _F) -> _F:
    """The options that say which machine; `read_query` reads them."""
    return _decorate(function, _MACHINE)


def rent_options(function: _F) -> _F:
    """All options of renting; `read_rent` reads them."""
    return _decorate(function, (*_MACHINE, *_RENT))


def _decorate(function: _F, options: tuple[Callable[[Any], Any], ...]) -> _F:
    for option in reversed(options):
        function = option(function)
    return function


def read_query(options: dict[str, Any]) -> OfferQuery:
    """Take what the machine must have out of a command's options.

    Raises:
        UsageError: a fallback for nothing.
    """
    gpu, fallbacks = options.pop("gpu"), options.pop("fallbacks")
    if fallbacks and not gpu:
        raise UsageError("--fallback (FALLBACK_GPU) needs --gpu (GPU_PREF): any GPU will do already")
    return OfferQuery(
        gpus=(gpu, *fallbacks) if gpu else (),
        num_gpus=options.pop("num_gpus"),
        min_vram_gb=options.pop("min_vram") or 0.0,
        disk_gb=options.pop("disk"),
        min_network_mbps=options.pop("min_network") or 0.0,
        min_reliability=options.pop("min_reliability"),
        cuda=options.pop("cuda"),
        region=options.pop("region"),
        max_usd_per_hour=options.pop("max_price"),
        spot=options.pop("spot"),
    )


def read_rent(options: dict[str, Any]) -> RentOptions:
    """Take everything about renting out of a command's options.

    Raises:
        UsageError: options that contradict one another.
    """
    offer, plan = options.pop("offer_id"), options.pop("plan_id")
    _let_flags_rule(options)
    image, system = options.pop("image"), options.pop("os_id")
    if offer and plan:
        raise UsageError("--offer-id and --plan-id both say what to rent: give one")
    if image and system:
        raise UsageError("--image and --os-id both say what the machine starts from: give one")
    volume, keep_volume = options.pop("volume_size"), options.pop("keep_volume")
    if keep_volume and volume is None:
        raise UsageError("--keep-volume needs --volume-size")
    instances = options.pop("instances")
    if instances > 1 and (options["instance"] or options["keep"]):
        raise UsageError("--instances rents several new ones, and ends them: no --keep, no --instance")
    return RentOptions(
        provider=options.pop("provider"),
        query=read_query(options),
        offer_id=offer or plan,
        instance=options.pop("instance"),
        keep=options.pop("keep"),
        hold_on_failure_s=options.pop("keep_on_failure"),
        max_hours=options.pop("max_hours"),
        budget_usd=options.pop("budget"),
        smoke=options.pop("smoke"),
        image=image or system,
        volume_gb=volume,
        keep_volume=keep_volume,
        instances=instances,
        retries=options.pop("retries"),
    )


def _let_flags_rule(options: dict[str, Any]) -> None:
    """What is named by a flag is not contradicted by a variable."""
    context = click.get_current_context()
    chosen = context.params.get("offer_id") or context.params.get("plan_id") or options.get("instance")
    if chosen:
        for name, nothing in (("gpu", None), ("fallbacks", ())):
            if is_from_variable(context, name):
                options[name] = nothing
    if options["os_id"] and is_from_variable(context, "image"):
        options["image"] = ""
