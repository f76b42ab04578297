"""A run as torchrun starts it, with real training: `-m tests.remote.gang_driver RUN_DIR [TROUBLE]`."""

import sys

from remote.__main__ import main
from tests.ups.training.trouble import arrange
from ups.ranks import Ranks

if __name__ == "__main__":
    arrange(sys.argv[2] if len(sys.argv) > 2 else "", Ranks.from_environment())
    raise SystemExit(main(["run", sys.argv[1]]))
