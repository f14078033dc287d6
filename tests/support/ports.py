"""Ports of loopback for servers that tests start."""

import random
import socket
import struct
from collections import deque

LOOPBACK = "127.0.0.1"
# Below the ports that systems hand to outgoing connections (from 32768): a client that tries again
# and again while its broker is down could otherwise be given the broker's own port.
FIRST, LAST = 20000, 32000
CLAIMS = 256
_claims: deque[socket.socket] = deque()


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port nobody listens on, and that the next `CLAIMS` calls do not return, here or elsewhere.

    A server often begins to listen long after its port was chosen. The port is therefore claimed by
    a UDP socket of the same number, which no TCP server minds and no other process can have. The
    oldest claims are given up, as a process may have few open files.
    """
    chooser = random.SystemRandom()
    for _ in range(100):
        port = chooser.randint(FIRST, LAST)
        if _claimed(port) and is_free(port):
            return port
    raise RuntimeError(f"No free port on {LOOPBACK} between {FIRST} and {LAST}")


def _claimed(port: int) -> bool:
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind((LOOPBACK, port))
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    if len(_claims) > CLAIMS:
        _claims.popleft().close()
    return True


def answers(port: int) -> bool:
    """Whether a broker there answers a metadata request with itself (it does once it is usable).

    The request is Metadata version 0 for no topic but one that cannot be (an empty list means all
    topics): https://kafka.apache.org/protocol (size, api key 3, version, correlation id, client).
    """
    body = struct.pack(">hhih", 3, 1, 7, -1) + struct.pack(">i", 0)
    try:
        with socket.create_connection((LOOPBACK, port), 2) as connection:
            connection.settimeout(2)
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as stream:
                head = stream.read(12)  # size, correlation id, number of brokers
    except OSError:
        return False
    brokers: int = struct.unpack(">iii", head)[2] if len(head) == 12 else 0
    return brokers > 0
