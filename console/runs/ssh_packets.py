"""paramiko's packets, with the time of the last one: the only sure sign that a peer lives.

Imports paramiko; imported where a connection is opened.
"""

import logging
import time
from typing import Any

from paramiko import Message, Transport
from paramiko.common import cMSG_GLOBAL_REQUEST
from paramiko.packet import Packetizer

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else Python prints its errors on stderr


class WatchedPacketizer(Packetizer):
    """Knows when the peer was heard last."""

    def __init__(self, socket: Any) -> None:
        super().__init__(socket)
        self.heard = time.monotonic()

    def read_message(self) -> Any:
        message = super().read_message()
        self.heard = time.monotonic()
        return message


def ask_when_quiet(transport: Transport, seconds: float) -> None:
    """Send a request that has to be answered, also by refusing it, whenever nothing was said for so long."""

    def ask() -> None:
        message = Message()
        message.add_byte(cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        transport._send_user_message(message)  # type: ignore[attr-defined]

    transport.packetizer.set_keepalive(seconds, ask)
