"""Claims: a unit is one process's at a time, and free again when that ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ups.data.claims import claims
from ups.errors import StoreError

_HOLDER = (
    "import signal, sys\n"
    "from pathlib import Path\n"
    "from ups.data.claims import claims\n"
    "with claims(Path(sys.argv[1])) as own:\n"
    "    print(own.take(3), flush=True)\n"
    "    signal.pause()\n"
)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_claim_is_exclusive_and_ends_with_its_process(tmp_path: Path, ending: signal.Signals) -> None:
    path = tmp_path / "claims"
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"True\n"
            with claims(path) as own:
                assert not own.take(3)
                assert own.take(2)
                holder.send_signal(ending)
                holder.wait()
                assert own.take(3)
        finally:
            holder.kill()


def test_a_claim_is_given_up_at_the_end_of_the_context(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    script = (
        "from ups.data.claims import claims\nfrom pathlib import Path\n"
        f"with claims(Path({str(path)!r})) as own:\n    print(own.take(0))"
    )
    other = [sys.executable, "-c", script]
    with claims(path) as own:
        assert own.take(0)
        assert own.take(0)  # it stays this process's
        assert subprocess.check_output(other) == b"False\n"
    assert subprocess.check_output(other) == b"True\n"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="claims"), claims(tmp_path / "gone" / "claims"):
        pass
