"""`email`: a mail for each transition, by SMTP.

Sources: RFC 5321 (SMTP; 4.2.1 for what the first digit of an answer means), RFC 8314 (TLS from the
first byte on), RFC 3207 (STARTTLS), RFC 4954 (AUTH).
"""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, cast

import aiosmtplib
import structlog
from aiosmtplib import SMTP
from pydantic import AfterValidator, Field, model_validator

from streams.domain import silence_events, transitions
from streams.domain.deliveries import Delivery
from streams.domain.transitions import Transition
from streams.receivers.email_message import LONGEST_SUBJECT, built_in_texts, message_of
from streams.receivers.email_silence import silence_message_of
from streams.receivers.outcomes import (
    Delivered,
    GiveUp,
    Outcome,
    Retry,
    of_tls_error,
    shown,
)
from streams.receivers.receiver import Network, digest_of
from streams.receivers.smtp_dialogue import Dialogue
from streams.receivers.texts import TextReceiver, Texts
from streams.settings import PositiveDuration, ProblemsError, Secret, Server, Text

LONGEST_TEXT = 10_000
"""Characters of a text from a template."""
OK = 250
TRANSIENT = range(400, 500)
NOT_LOGGED_IN = frozenset({530, 534, 535, 538})
"""What is wrong with the login and not with the mail (RFC 4954, 6)."""
INVALID = -1
"""What the library takes for the status of an answer that has none."""

_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII
)

log = structlog.get_logger(__name__)


def _address(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError("expected an address such as ops@example.com, without a name")
    return address


Address = Annotated[Text, AfterValidator(_address)]


class EmailReceiver(TextReceiver):
    """Gets a mail for each transition; all of an alert are one thread.

    The title is the subject. The text is above the figures, in the HTML as well: what a template
    says is text there, and no HTML.

    Attributes:
        server: the mail server that takes mails, as `host:port`.
        tls: `implicit`: from the first byte on; `starttls`: before anything else is said, or
            nothing is sent; `none`: anybody on the way can read and change what is sent.
        user: logs in; null for nobody.
        password: of the user; never sent without TLS.
        sender: the address that mails are from.
        to: who gets them. One who is refused keeps no other from his mail, so two who must not miss
            any are better two receivers.
        timeout: for one mail; s. A server may look into it before it answers.
    """

    example: ClassVar[str] = """\
- name: mail
  kind: email                          # SMTP; text and HTML, one thread an alert
  server: smtp.example.com:465
  tls: implicit                        # implicit, starttls (mostly port 587), or none
  user: null                           # logs in, with:
  password_file: /run/secrets/mail     # or password: …; never sent without TLS
  sender: alerts@example.com
  to: [ops@example.com]
  timeout: 30s
  matchers: []                         # [severity="critical"]: only alerts that all of them match
  title: null                          # a template in place of the built-in one: docs/operations.md
  text: null                           # the same for the text
"""

    told_of_silences: ClassVar[bool] = True

    longest_title: ClassVar[int] = LONGEST_SUBJECT
    longest_text: ClassVar[int] = LONGEST_TEXT

    kind: Literal["email"] = "email"
    server: Server
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    user: Text | None = None
    password: Secret | None = None
    sender: Address
    to: Annotated[tuple[Address, ...], Field(min_length=1, max_length=100)]
    timeout: PositiveDuration = 30.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if self.user is not None and self.password is None:
            problems.append((("password",), "expected the password of user"))
        if self.user is not None and self.tls == "none":
            problems.append((("tls",), "expected implicit or starttls, as there is a user"))
        if problems:
            raise ProblemsError(list(problems))
        return self

    @property
    def target(self) -> str:
        """A digest of the server and the recipients."""
        return digest_of(" ".join((self.server, *self.to)))

    def built_in(self, transition: Transition) -> Texts:
        """Return the subject, which is the same in all mails of an alert; and the summary."""
        return built_in_texts(transition.data)

    async def send(self, delivery: Delivery, now: float, network: Network) -> Outcome:
        """Send the mail; it is the same at any time."""
        del now
        event = silence_events.read(delivery.transition)
        if event is not None:
            message = silence_message_of(delivery, event, self.sender, self.to)
        else:
            texts = self.texts(transitions.decode(delivery.transition))
            for failure in texts.failures:
                network.template_failed(failure)
            message = message_of(delivery, texts, self.sender, self.to)
        host, _, port = self.server.rpartition(":")
        host = host.strip("[]")
        connected = await network.connect(host, int(port))
        if isinstance(connected, Retry):
            return connected
        session = SMTP(
            hostname=host,
            timeout=None,
            local_hostname=_literal(connected),
            sock=connected,
            use_tls=self.tls == "implicit",
            start_tls=False,
            tls_context=network.tls,
        )
        outcome: Outcome | None = None
        try:
            outcome = await self._in(session, message, Dialogue(network.conversed))
        except ssl.SSLError as error:
            return of_tls_error(error)
        except aiosmtplib.SMTPException as error:
            return _of_error(error)
        except OSError:
            return Retry("connection", "the connection broke before there was an answer")
        finally:
            _end(session, politely=outcome is not None)
        return outcome

    async def _in(self, session: SMTP, message: bytes, dialogue: Dialogue) -> Outcome:
        """Do what a session is for. What the server says before the mail is about the server."""
        try:
            await _greeted(session, dialogue)
            await session.ehlo()
            if self.tls == "starttls":
                if not session.supports_extension("starttls"):
                    return Retry("tls", "the server offers no STARTTLS")
                await session.starttls()
                await session.ehlo()
            if self.user is not None and self.password is not None:
                if not session.supported_auth_methods:
                    return Retry("protocol", "the server offers no way to log in")
                await session.login(self.user, self.password.get_secret_value())
        except aiosmtplib.SMTPResponseException as error:
            return _later(error)
        try:
            return await self._mail(session, message)
        except aiosmtplib.SMTPResponseException as error:
            return _of_answer(error)

    async def _mail(self, session: SMTP, message: bytes) -> Outcome:
        await session.mail(self.sender)
        refusals = []
        for address in self.to:
            try:
                await session.rcpt(address)
            except aiosmtplib.SMTPRecipientRefused as error:
                refusals.append(error)
        if len(refusals) == len(self.to):
            return _of_refusals(refusals)
        await session.data(message)
        for refused in refusals:
            bound = log.bind(receiver=self.name, address=refused.recipient)
            bound.warning("recipient refused", reason=_said(refused))
        return Delivered(OK)


async def _greeted(session: SMTP, dialogue: Dialogue) -> None:
    """Connect, and tell what the server says first and all that is said from then on."""
    try:
        greeting = await session.connect()
    except aiosmtplib.SMTPResponseException as error:
        dialogue.answered(error.code, error.message)
        raise
    dialogue.answered(greeting.code, greeting.message)
    if session.protocol is not None:
        dialogue.follow(session.protocol)


def _literal(connected: socket.socket) -> str:
    """Return how a host without a name calls itself (RFC 5321, 4.1.3)."""
    address: str = connected.getsockname()[0]
    address = address.partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _of_refusals(refusals: Sequence[aiosmtplib.SMTPRecipientRefused]) -> Outcome:
    """Say what it means that all recipients are refused: one who may be taken later counts."""
    passing = [each for each in refusals if each.code in TRANSIENT]
    return _of_answer((passing or refusals)[0])


def _of_answer(error: aiosmtplib.SMTPResponseException) -> Outcome:
    """Say what an answer about a mail means: 5yz is for good, but for a login that is missing."""
    if error.code in TRANSIENT or error.code in {INVALID, *NOT_LOGGED_IN}:
        return _later(error)
    return GiveUp("status", _said(error))


def _later(error: aiosmtplib.SMTPResponseException) -> Retry:
    return Retry("protocol" if error.code == INVALID else "status", _said(error))


def _said(error: aiosmtplib.SMTPResponseException) -> str:
    text = shown(error.message)
    if error.code == INVALID:
        return f"not an SMTP answer: {text}"
    return f"SMTP status {error.code}" + (f": {text}" if text else "")


def _of_error(error: aiosmtplib.SMTPException) -> Outcome:
    """Say what it means that there was no answer."""
    if isinstance(error.__cause__, ssl.SSLError):
        return of_tls_error(error.__cause__)
    if isinstance(error, ConnectionError):
        return Retry("connection", "the connection broke before there was an answer")
    return Retry("protocol", f"SMTP failed: {shown(error.message)}")


def _end(session: SMTP, *, politely: bool) -> None:
    """End a session at once, whatever the server does: what it said of the mail counts."""
    transport = session.transport
    if transport is None:
        return
    if politely and session.protocol is not None and session.is_connected:
        with contextlib.suppress(OSError, RuntimeError, aiosmtplib.SMTPException):
            session.protocol.write(b"QUIT\r\n")
    else:
        # Closing would wait until the server has read everything.
        cast("asyncio.WriteTransport", transport).abort()
    session.close()
