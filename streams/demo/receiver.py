"""A receiver of webhooks on this machine: checks the signature and says what it got in one line.

It shares no code with the sending side, so it also shows what a receiver of one's own has to do
(Standard Webhooks 1.0.0, https://www.standardwebhooks.com).
"""

import base64
import errno
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from streams.domain import group_transitions, transitions
from streams.domain.group_transitions import GroupTransition
from streams.domain.transitions import Transition
from streams.errors import UserError
from streams.terminal import abbreviated

HOST = "127.0.0.1"
PATH = "/alerts"
TOLERANCE_S = 300.0
"""How old or new a webhook may be: an older one may be a repetition by somebody else."""

_KEPT = 1000
SUMMARY_MOST = 300
"""Characters: the name of a campaign may have thousands, and comes from outside."""


class ReceiverPortTakenError(UserError):
    """Another program listens on the port that the receiver should have."""


class LocalReceiver:
    """Listens on loopback between `start` and `stop`.

    Args:
        secret: `whsec_` and base64, the same that the sender has.
        say: is given a line for each transition, and for each request that is not right.
        port: 0 takes a free one.
        clock: wall-clock time, seconds since the epoch.

    Attributes:
        received: the last transitions of alerts and of groups, oldest first, each once however
            often it was sent.
    """

    def __init__(
        self,
        secret: str,
        say: Callable[[str], None],
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._say = say
        self._port = port
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._seen: deque[str] = deque(maxlen=_KEPT)
        self.received: deque[Transition | GroupTransition] = deque(maxlen=_KEPT)

    @property
    def url(self) -> str:
        """Where to send webhooks; known once it has started."""
        return f"http://{HOST}:{self._port}{PATH}"

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ReceiverPortTakenError: another program has the port.
        """
        app = web.Application()
        app.router.add_post(PATH, self._receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno != errno.EADDRINUSE:
                raise
            raise ReceiverPortTakenError(
                f"port {self._port} for the webhook receiver is taken: choose another"
            ) from error
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening; harmless when called twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        problem = signature_problem(request.headers, body, self._secret, self._clock())
        if problem is not None:
            self._say(f"webhook refused: {problem}")
            return web.Response(status=401, text=problem)
        try:
            transition = _decoded(body)
        except msgspec.DecodeError as error:
            self._say(f"webhook refused: {error}")
            return web.Response(status=400, text=str(error))
        webhook_id = request.headers["webhook-id"]
        # At least once is what is promised: what is there already is welcome, and not news.
        if webhook_id not in self._seen:
            self._seen.append(webhook_id)
            self.received.append(transition)
            self._say(line(transition))
        return web.Response(status=204)


def _decoded(body: bytes) -> Transition | GroupTransition:
    if group_transitions.is_of_group(body):
        return group_transitions.decode(body)
    return transitions.decode(body)


def line(transition: Transition | GroupTransition) -> str:
    """Write a transition in one line."""
    what = transition.type.rpartition(".")[2].upper()
    clock = transition.timestamp[11:19]
    summary = abbreviated(transition.data.summary, SUMMARY_MOST)
    return f"{clock}  {what:<8}  {transition.data.severity:<8}  {summary}"


def signature_problem(
    headers: Mapping[str, str], body: bytes, secret: str, now: float
) -> str | None:
    """Say what is wrong with the signature of a webhook at `now` (s), null if nothing is.

    Args:
        headers: of the request; names in lower case, or in any if the mapping takes any.
        body: as it came, to the byte.
        secret: `whsec_` and base64.
        now: seconds since the epoch.
    """
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "").split()
    if not (webhook_id and timestamp and signatures):
        return "a webhook-id, webhook-timestamp or webhook-signature header is missing"
    if not timestamp.isdecimal() or abs(now - int(timestamp[:20])) > TOLERANCE_S:
        return "the webhook-timestamp is not of now"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    if not any(
        hmac.compare_digest(expected.encode(), given.encode(errors="replace"))
        for given in signatures
    ):
        return "no webhook-signature fits the secret"
    return None
