"""Waiting for a box to let its console in, with a word on what is waited for."""

import time
from collections.abc import Callable, Generator

from console.errors import HostKeyChangedError, LoginError, ProviderError, UnreachableError
from console.fleet.model import SshAddress
from console.runs.ssh import SshTransport

LOGIN_PATIENCE_S = 120.0
"""Providers copy keys to a box some time after its sshd has started."""
PAUSE_S = 2.0
"""Between two attempts."""


def wait_for_ssh(
    address_of: Callable[[], tuple[SshAddress | None, str]],
    open_at: Callable[[SshAddress], SshTransport],
    *,
    timeout_s: float,
    login_patience_s: float = LOGIN_PATIENCE_S,
    pause_s: float = PAUSE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[str, None, SshTransport]:
    """Yields what is waited for whenever that changes; returns a transport that is logged in.

    Args:
        address_of: where the box listens (None: not yet), and the provider's own words on how it stands.
        open_at: a transport for an address; it is opened here.
        timeout_s: in all.
        login_patience_s: how long a box may refuse the key.
        pause_s: between two attempts.
        clock: seconds that only grow.
        sleep: waits.

    Raises:
        UnreachableError: it did not let us in within the time; says what was waited for last.
        LoginError: it refuses the key for too long, or another machine answers.
    """
    until = clock() + timeout_s
    refused_since: float | None = None
    told = ""
    while True:
        reason = ""
        try:
            address, status = address_of()
            if address is None:
                reason = f"the provider says: {status}" if status else "the provider gives no address yet"
                refused_since = None
            else:
                transport = open_at(address)
                try:
                    transport.open()
                except BaseException:
                    transport.close()
                    raise
                return transport
        except HostKeyChangedError:
            raise
        except LoginError as error:
            if refused_since is None:
                refused_since = clock()
            if clock() - refused_since >= login_patience_s:
                raise
            reason = f"key not accepted yet: {error.message}"
        except ProviderError as error:
            refused_since = None
            reason = error.message
        if reason != told:
            told = reason
            yield reason
        if clock() + pause_s > until:
            raise UnreachableError(
                f"the instance did not let the console in within {timeout_s:.0f} s: {told}",
                hint="it costs money until it is destroyed; `ups-console logs --provider-log` may say why",
            )
        sleep(pause_s)
