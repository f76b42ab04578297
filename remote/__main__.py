"""`python -m remote COMMAND`: what runs on the box, or here in a process of its own.

Each command imports what it needs when it is called: the watchdog must start with the standard
library alone, and a missing `train` extra must be told in one line.
"""

import faulthandler
import sys

_USAGE = """usage: python -m remote COMMAND …

  run RUN_DIR                      execute a run: hydrate, precompute, train, evaluate, publish
  network free|listen|send IP      find out what a private network between machines can do
  smoke DIRECTORY                  take one step of everything, for a run that asks for it before it trains
  publish RUN_DIR                  publish what there is of a run that has died
  track RUN_DIR [--send]           report a run to Weights & Biases
  make TASK… --store URL           generate datasets with the reference solvers
  import TASK FILE… --store URL    convert raw PDEBench-layout files into the store
  preprocess --tasks A,B --store URL
                                   convert PDEBench's published files, or parts of them, into the store
  evaluate RUN_DIR|CHECKPOINT      judge a checkpoint
  precompute TASK… --store URL     build a latent cache in the store
  inspect TASK --store URL         say what a cache of the first scripts holds
  watchdog BOX_DIR                 end the box when its run is over or its deadline has come

`python -m remote COMMAND --help` says more."""


def main(arguments: list[str]) -> int:
    """Dispatch; returns the exit code."""
    command, *rest = arguments or [""]
    if command == "watchdog":
        from remote import watchdog

        return watchdog.main(rest)
    if command in ("-h", "--help"):
        print(_USAGE)
        return 0
    from remote import commands

    if command not in commands.COMMANDS:
        print(f"error: there is no command {command!r}" if command else _USAGE, file=sys.stderr)
        print("hint: `python -m remote --help` lists the commands", file=sys.stderr)
        return 2
    return commands.run(command, rest)


if __name__ == "__main__":
    faulthandler.enable()  # a crash in native code leaves its stack in run.log
    raise SystemExit(main(sys.argv[1:]))
