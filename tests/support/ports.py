"""Ports of loopback for servers that tests start."""

import random
import socket
import struct

LOOPBACK = "127.0.0.1"
# Below the ports that systems hand to outgoing connections (from 32768): a client that tries again
# and again while its broker is down could otherwise be given the broker's own port.
FIRST, LAST = 20000, 32000


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
    """A port nobody listens on; chosen at random, so that sessions side by side seldom meet."""
    chooser = random.SystemRandom()
    for _ in range(100):
        port = chooser.randint(FIRST, LAST)
        if is_free(port):
            return port
    raise RuntimeError(f"No free port on {LOOPBACK} between {FIRST} and {LAST}")


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
