"""What is said in an SMTP session, for whoever looks on: commands and answers without secrets.

What a client says to log in is a secret in a form of its own, mostly base64, whatever the mechanism
(RFC 4954). So none of it is told, from the name of the mechanism to the answer that ends it.
"""

from collections.abc import Callable

from aiosmtplib import SMTPResponse
from aiosmtplib.protocol import SMTPProtocol

from streams.receivers.receiver import Line
from streams.settings import HIDDEN

GOES_ON = 334
"""An answer to which the client says more to log in."""


class Dialogue:
    """Tells what both sides say.

    Args:
        tell: is called with each command or mail, before it is sent, and with each answer.
    """

    def __init__(self, tell: Callable[[Line], None]) -> None:
        self._tell = tell
        self._logs_in = False

    def follow(self, protocol: SMTPProtocol) -> None:
        """Tell what is said from now on."""
        write, read = protocol.write, protocol.read_response

        def written(data: bytes) -> None:
            self.sent(data)
            write(data)

        async def answered(timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109 - the library's
            response = await read(timeout)
            self.answered(response.code, response.message)
            return response

        # The library has no other way to look on; all that it says and hears passes here.
        protocol.write = written  # type: ignore[method-assign]
        protocol.read_response = answered  # type: ignore[method-assign]

    def sent(self, data: bytes) -> None:
        """Tell what is sent."""
        text = data.decode("utf-8", "replace").removesuffix("\r\n")
        verb, _, rest = text.partition(" ")
        if self._logs_in:
            text = HIDDEN
        elif verb.upper() == "AUTH":
            self._logs_in = True
            mechanism, _, secret = rest.partition(" ")
            text = f"{verb} {mechanism} {HIDDEN}" if secret else text
        self._tell(Line(sent=True, text=text))

    def answered(self, code: int, message: str) -> None:
        """Tell what was answered, as its lines were: all but the last have a hyphen."""
        self._logs_in = self._logs_in and code == GOES_ON
        lines = message.split("\n")
        marks = ["-"] * (len(lines) - 1) + [" "]
        text = "\n".join(f"{code}{mark}{line}" for mark, line in zip(marks, lines, strict=True))
        self._tell(Line(sent=False, text=text.rstrip()))
