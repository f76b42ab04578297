"""The commands of `python -m remote` but for the watchdog: their options, and what they call."""

import argparse
import os
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from remote.environment import cores, share_cores
from remote.failures import explain
from remote.output import Output
from ups.errors import ConfigError, NotFoundError, UpsError, UsageError
from ups.variables import heed_file

if TYPE_CHECKING:
    from ups.data.convert import ImportResult, Labour

Options = argparse.Namespace


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand."""

    help: str
    declare: Callable[[argparse.ArgumentParser], None]
    execute: Callable[[Options, Output], int]


def run(name: str, arguments: Sequence[str]) -> int:
    """Parse and execute a command; errors become a line on stderr and an exit code."""
    command = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"python -m remote {name}", description=command.help)
    command.declare(parser)
    parser.add_argument("--json", action="store_true", help="print event-shaped JSON lines")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(list(arguments))  # ends with exit code 2 itself
    share_cores()
    output = Output(name, as_json=options.json)
    try:
        heed_file(os.environ)
        return command.execute(options, output)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the process boundary: no traceback unless it is asked for
        failure = explain(error)
        if options.debug or (name == "run" and not failure.expected):
            traceback.print_exc()
        output.fail(failure)
        return error.exit_code if isinstance(error, UpsError) else failure.exit_code


def _store_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", required=True, metavar="URL", help="dir:/path of the store")


# --- run ------------------------------------------------------------------------------------


def _declare_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a directory with a run.yaml")
    parser.add_argument("--meet", metavar="HOST:PORT", help="train with other machines, which meet there")
    parser.add_argument("--machines", type=_positive, default=1, metavar="N", help="that meet")
    parser.add_argument("--address", metavar="IP", help="of this one; the lowest is where they meet")
    parser.add_argument("--patience", type=float, default=30.0, metavar="S", help="for the others")
    parser.add_argument(
        "--silence", type=float, default=60.0, metavar="S", help="after which a machine is given up"
    )


def _run(options: Options, output: Output) -> int:
    from remote import torchrun
    from remote.pipeline import execute
    from ups.rundir import RunDirectory

    directory = RunDirectory(options.run_dir.absolute())
    if options.meet and not options.address:
        raise UsageError("--meet needs --address, by which the other machines reach this one")
    meeting = None
    if options.meet:
        meeting = torchrun.Meeting(options.meet, options.machines, options.address, options.patience)
    if directory.spec_path.exists():
        spec = directory.read_spec()
        for name, value in spec.variables.items():  # given at the launch; by hand it is the same run
            os.environ.setdefault(name, value)
        more = [*(["--json"] if output.as_json else []), "--silence", f"{options.silence:g}"]
        torchrun.become(directory.root, spec, meeting, more)
    return execute(options.run_dir, as_json=output.as_json, silence_s=options.silence)


# --- network --------------------------------------------------------------------------------


def _declare_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("free", "listen", "send"))
    parser.add_argument("address", metavar="IP", help="of this machine; with `send` of the other one")
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("megabytes", nargs="?", type=_positive, default=64)


def _network(options: Options, output: Output) -> int:
    from remote import network

    if options.what == "free":
        port = network.free_port(options.address)
        output.done(f"port {port}", port=port)
    elif options.port is None:
        raise UsageError(f"`network {options.what}` needs a port")
    elif options.what == "listen":
        received = network.listen(options.address, options.port)
        output.done(f"{received} bytes", bytes=received)
    else:
        rate, delay = network.send(options.address, options.port, options.megabytes)
        output.done(f"{rate:.0f} MB/s, {delay:.1f} ms", megabytes_per_s=rate, milliseconds=delay)
    return 0


# --- smoke ----------------------------------------------------------------------------------


def _declare_smoke(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("work", type=Path, metavar="DIRECTORY", help="as a run has prepared it")


def _smoke(options: Options, output: Output) -> int:
    from remote.smoke import execute

    return execute(options.work.absolute())


# --- publish --------------------------------------------------------------------------------


def _declare_publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a directory with a run.yaml")
    parser.add_argument(
        "--follow", action="store_true", help="publish each new checkpoint of a run that says so on stdin"
    )


def _publish(options: Options, output: Output) -> int:
    """What a run that died, or was ended, could not do itself; costs nothing where it did."""
    from remote.environment import sole_process
    from remote.publish import Publisher
    from remote.publishing import follow
    from ups.rundir import RunDirectory
    from ups.store import open_store

    directory = RunDirectory(options.run_dir.absolute())
    if options.follow:
        return follow(directory)
    spec = directory.read_spec()
    with sole_process(directory.root):
        publisher = Publisher(open_store(spec.store), spec, directory, lambda path, where, sha256: None)
        uploaded = publisher.publish(
            lambda done, total: output.progress("results", done, total, unit="bytes")
        )
    output.done(f"{uploaded} files published to {spec.store}", files=uploaded)
    return 0


# --- track ----------------------------------------------------------------------------------


def _declare_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a directory with a run.yaml")
    parser.add_argument("--send", action="store_true", help="send what is there, online, and end")


def _track(options: Options, output: Output) -> int:
    from remote.tracker import follow, send
    from ups.rundir import RunDirectory

    directory = RunDirectory(options.run_dir.absolute())
    if not options.send:
        return follow(directory)
    sent = send(directory)
    output.done(f"{sent['rows']} rows, {sent['pictures']} pictures: {sent['url']}", **sent)
    return 0


# --- make, import ---------------------------------------------------------------------------


def _declare_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", nargs="+", metavar="TASK")
    parser.add_argument("--samples", type=int, help="initial conditions; default: the solver's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replace", action="store_true", help="replace a dataset that differs")
    _labour_option(parser)
    _store_option(parser)


def _make(options: Options, output: Output) -> int:
    from ups.data.convert import make
    from ups.store import open_store

    store, labour = open_store(options.store), _labour(options)
    results = [
        make(
            store,
            task,
            samples=options.samples,
            seed=options.seed,
            replace=options.replace,
            labour=labour,
            progress=_progress(labour, output),
            transfer=_transfer(labour, output, task),
        )
        for task in options.tasks
    ]
    _tell_imports(results, labour, output)
    return 0


def _labour_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, metavar="N", help="processes; default: one for each core")


def _labour(options: Options) -> "Labour":
    from ups.data.convert import Labour
    from ups.ranks import Ranks

    ranks = Ranks.from_environment()
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs}: at least one process has to work")
    return Labour(options.jobs or max(1, cores() // ranks.local_world_size), ranks)


def _declare_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="or a folder of them")
    parser.add_argument("--replace", action="store_true", help="drop what the store holds of the task")
    _labour_option(parser)
    _store_option(parser)


def _import(options: Options, output: Output) -> int:
    from ups.data.convert import import_raw
    from ups.store import open_store

    labour = _labour(options)
    result = import_raw(
        open_store(options.store),
        options.task,
        options.files,
        replace=options.replace,
        labour=labour,
        progress=_progress(labour, output),
        transfer=_transfer(labour, output, options.task),
    )
    _tell_imports([result], labour, output)
    return 0


# --- export ---------------------------------------------------------------------------------


def _declare_export(parser: argparse.ArgumentParser) -> None:
    from ups.data.formats import ExportFormat

    formats = [str(layout) for layout in ExportFormat]
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="new or empty")
    parser.add_argument("--format", choices=formats, default=formats[0], help="default: %(default)s")
    _store_option(parser)


def _export(options: Options, output: Output) -> int:
    from ups.data.export import export
    from ups.data.formats import ExportFormat
    from ups.store import open_store

    layout = ExportFormat(options.format)
    samples = export(open_store(options.store), options.task, options.folder, layout, output.progress)
    counts = ", ".join(f"{count} {split}" for split, count in samples.items())
    output.done(f"{options.task}: {counts} samples in {options.folder}", samples=samples)
    return 0


def _progress(labour: "Labour", output: Output) -> Callable[[str, int, int], None]:
    """Of several processes on one request the main one speaks for all."""
    return output.progress if labour.ranks.is_main else lambda what, done, total: None


def _transfer(labour: "Labour", output: Output, task: str) -> Callable[[int, int], None]:
    """The same of the bytes that a store elsewhere sends or receives."""
    if not labour.ranks.is_main:
        return lambda done, total: None
    return lambda done, total: output.progress(f"transfer {task}", done, total, unit="bytes")


def _tell_imports(results: Sequence["ImportResult"], labour: "Labour", output: Output) -> None:
    if not labour.ranks.is_main:
        return
    for result in results:
        for note in result.notes:
            output.warn("data", f"{result.task}: {note}")
    output.done("\n".join(map(_told, results)), datasets=[asdict(result) for result in results])


def _told(result: "ImportResult") -> str:
    samples = ", ".join(f"{count} {split}" for split, count in result.samples.items())
    what = f"added {', '.join(result.added)}" if result.changed else "nothing new"
    return f"{result.task}: {what}; now {samples} samples"


# --- preprocess -----------------------------------------------------------------------------


def _declare_preprocess(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", required=True, metavar="A,B", help="whose published files to use")
    parser.add_argument("--limit", type=_positive, metavar="FILES", help="the first so many files of a task")
    parser.add_argument("--samples", type=_positive, metavar="N", help="the first so many of each file")
    parser.add_argument("--resolution", type=_positive, metavar="R", help="cells along an axis")
    parser.add_argument("--stride", type=_positive, default=1, metavar="K", help="take every k-th frame")
    parser.add_argument("--from", dest="base", metavar="DIR|URL", help="default: DaRUS, or UPS_DARUS_URL")
    parser.add_argument("--table", type=Path, metavar="CSV", help="of other files: task,file,id,md5")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--partial", action="store_true", help="read what is needed; default with --samples")
    how.add_argument("--whole", action="store_true", help="download files and check their MD5; else default")
    parser.add_argument("--work", type=Path, default=Path("raw"), metavar="DIR", help="to download to")
    parser.add_argument("--replace", action="store_true", help="drop what the store holds of the tasks")
    parser.add_argument("--cache-dim", type=_positive, metavar="D", help="build a latent cache, so wide")
    parser.add_argument("--cache-tokens", type=_positive, metavar="T", help="of at most so many tokens")
    parser.add_argument("--cache-dtype", choices=("float16", "float32"), default="float16")
    parser.add_argument("--splits", metavar="S,S", help="of which to build it; default: train,val,test")
    parser.add_argument("--num-workers", dest="jobs", type=_positive, metavar="N", help="processes")
    _store_option(parser)


def _preprocess(options: Options, output: Output) -> int:
    from remote.preprocess import preprocess, request_of
    from ups.store import open_store

    outcomes = preprocess(request_of(options, _labour(options)), open_store(options.store), output)
    told = "\n".join(outcome.told for outcome in outcomes)
    output.done(told, datasets=[asdict(outcome) for outcome in outcomes])
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


# --- precompute -----------------------------------------------------------------------------


def _declare_precompute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", nargs="+", metavar="TASK")
    parser.add_argument("--cache-version", required=True, metavar="V", help="such as upt_128d_128tok")
    parser.add_argument("--cache-dim", type=int, metavar="D", help="width of a token")
    parser.add_argument("--cache-tokens", type=int, metavar="T", help="most tokens of a state")
    parser.add_argument("--cache-dtype", choices=("float16", "float32"), default="float16")
    parser.add_argument(
        "--reset", action="store_true", help="build also what is there; so does RESET_CACHE=1"
    )
    _labour_option(parser)
    _store_option(parser)


def _precompute(options: Options, output: Output) -> int:
    from remote import precompute
    from remote.run_caches import is_set
    from ups.data import latents
    from ups.data.cache_shape import CacheShape
    from ups.data.projection import fingerprint
    from ups.rundir import RESET_VARIABLE
    from ups.store import open_store

    store, labour = open_store(options.store), _labour(options)
    building = precompute.Building(labour, reset=options.reset or is_set(RESET_VARIABLE))
    shape = CacheShape.of_version(
        options.cache_version,
        dim=options.cache_dim,
        tokens=options.cache_tokens,
        dtype=options.cache_dtype,
    )
    recipes = []
    for task in options.tasks:
        try:
            recipes += precompute.missing(store, [task], shape, reset=building.reset)
        except ConfigError as error:
            if len(options.tasks) == 1:
                raise
            output.warn("precompute", f"{task} is not cached: {error.message}", error.hint)
    built: dict[str, dict[str, str | int]] = {}
    with tempfile.TemporaryDirectory(prefix="ups-precompute-") as scratch:
        for recipe in recipes:
            name = f"{recipe.task}_{recipe.split}"
            if labour.ranks.is_main and (differs := latents.mismatch(store, shape.version, recipe)):
                output.warn("precompute", f"{shape.version} of {name} is built anew: {'; '.join(differs)}")
            file = precompute.stored_file(store, recipe, Path(scratch))
            record = precompute.build(store, recipe, file, shape.version, _progress(labour, output), building)
            built[name] = {"fingerprint": fingerprint(recipe), "bytes": record.bytes}
    if not labour.ranks.is_main:
        return 0
    total = sum(int(record["bytes"]) for record in built.values()) / 1e6
    text = f"{shape.version}: built {len(built)} caches, {total:.1f} MB" if built else "nothing to build"
    output.done(text, version=shape.version, built=built)
    return 0


def _declare_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("--cache-version", required=True, metavar="V")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train")
    _store_option(parser)


def _inspect(options: Options, output: Output) -> int:
    from remote.legacy_caches import inspect
    from ups.store import open_store

    found = inspect(open_store(options.store), options.cache_version, options.task, options.split)
    held = ", ".join(f"{tensor.name} {tensor.shape} {tensor.dtype}".strip() for tensor in found.tensors)
    mixed = "" if found.uniform else "; others differ"
    output.done(f"{found.samples} samples, {found.bytes / 1e6:.1f} MB; each {held}{mixed}", **asdict(found))
    return 0


# --- evaluate -------------------------------------------------------------------------------


def _declare_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", type=Path, metavar="RUN_DIR|CHECKPOINT")
    parser.add_argument("--split", action="append", choices=("train", "val", "test"), help="default: test")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="a raw or converted file, evaluated as a whole"
    )
    parser.add_argument("--task", metavar="TASK", help="task of --data")
    parser.add_argument("--predictions", type=Path, metavar="OUT.npz", help="write predictions and truth")
    parser.add_argument("--config", type=Path, metavar="EVAL", help="evaluation config; default: EVAL_CONFIG")
    parser.add_argument("--ttc", action="store_true", help="choose among candidates too, beside not doing so")
    _store_option(parser)


def _evaluate(options: Options, output: Output) -> int:
    from remote.judging import Judging, judge

    if options.data is not None and options.task is None:
        raise UsageError("--data needs --task", hint="add --task and the name of its task")
    if not options.target.exists():
        raise NotFoundError(f"there is no {options.target}")
    named = os.environ.get("EVAL_CONFIG", "").strip(" ,")
    judging = Judging(
        target=options.target,
        store_url=options.store,
        splits=tuple(options.split or ()),
        data=options.data,
        task=options.task,
        predictions=options.predictions,
        config=options.config or (Path(named) if named else None),
        ttc=options.ttc,
    )
    report = judge(judging, output.progress)
    output.done(_table(report), report=report)
    return 0


def _table(report: dict[str, object]) -> str:
    lines = [f"{'split':6} {'task':22} {'one-step':>10} {'copying':>10} {'rollout':>10} {'copying':>10}"]
    splits = report["splits"]
    assert isinstance(splits, dict)
    for split, results in splits.items():
        for task, of in results["tasks"].items():
            names = ("one_step", "persistence_one_step", "rollout", "persistence_rollout")
            figures = " ".join(
                f"{of[name]:10.4f}" if of[name] is not None else f"{'–':>10}" for name in names
            )
            lines.append(f"{split:6} {task:22} {figures}" + ("" if of["skill"] else "  no skill"))
    return "\n".join(lines)


COMMANDS: dict[str, Command] = {
    "run": Command("Execute a run, or go on with it.", _declare_run, _run),
    "network": Command("Find out what the private network can do.", _declare_network, _network),
    "smoke": Command("Take one step of everything for a run that asks for it.", _declare_smoke, _smoke),
    "publish": Command(
        "Publish what there is of a run that does not do it itself.", _declare_publish, _publish
    ),
    "track": Command("Report a run to Weights & Biases.", _declare_track, _track),
    "make": Command("Generate datasets with the reference solvers.", _declare_make, _make),
    "import": Command("Convert raw files of a task into the store.", _declare_import, _import),
    "export": Command("Write a dataset in a layout that others read.", _declare_export, _export),
    "preprocess": Command("Turn published files into datasets.", _declare_preprocess, _preprocess),
    "precompute": Command("Build a latent cache in the store.", _declare_precompute, _precompute),
    "inspect": Command("Say what a cache of the first scripts holds.", _declare_inspect, _inspect),
    "evaluate": Command("Judge a checkpoint.", _declare_evaluate, _evaluate),
}
