"""A mail server that answers as a test says: by RFC 5321 where the test says nothing."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

TLS = Path(__file__).parent / "tls"
GREETING = "greeting"
BODY = "body"
"""What is answered first, and what is answered to the end of a mail."""
DROP = b""
"""Instead of an answer: the connection ends."""
HANG = b"..."
"""Instead of an answer: nothing."""

USUAL = {
    GREETING: b"220 mail.example ESMTP\r\n",
    "EHLO": b"250-mail.example\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
    "STARTTLS": b"220 go on\r\n",
    "AUTH": b"235 hello\r\n",
    "MAIL": b"250 OK\r\n",
    "RCPT": b"250 OK\r\n",
    "DATA": b"354 go on\r\n",
    BODY: b"250 queued as 1\r\n",
    "QUIT": b"221 bye\r\n",
}


def context_of_server() -> ssl.SSLContext:
    """The context of a server at `localhost`, which `context_of_client` trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "localhost.pem", TLS / "localhost.key")
    return context


def context_of_client() -> ssl.SSLContext:
    """A context that trusts the certificate of the tests and no other."""
    return ssl.create_default_context(cafile=str(TLS / "localhost.pem"))


class MailServer:
    """Listens on a free port of loopback inside `async with`.

    Args:
        answers: by verb or a whole command; see `USUAL` for those that are not named.
        implicit: whether TLS begins with the first byte.
    """

    def __init__(
        self, answers: Mapping[str, bytes] | None = None, *, implicit: bool = False
    ) -> None:
        self._answers = {**USUAL, **(answers or {})}
        self._implicit = implicit
        self.commands: list[str] = []
        self.mails: list[bytes] = []
        self.secure: list[str] = []
        """Commands that came over TLS."""
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        context = context_of_server() if self._implicit else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            # Cancelled when the test ends: asyncio would log that.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if await self._answer(writer, GREETING):
                    await self._talk(reader, writer)
        finally:
            self._running.discard(task)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            command = (await reader.readuntil(b"\r\n")).decode().strip()
            verb = command.split()[0].upper()
            self.commands.append(command)
            if writer.get_extra_info("sslcontext") is not None:
                self.secure.append(command)
            if not await self._answer(writer, command if command in self._answers else verb):
                return
            if verb == "STARTTLS":
                await writer.start_tls(context_of_server())
            if verb == "DATA" and self._answers["DATA"].startswith(b"3"):
                mail = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append(mail.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n."))
                if not await self._answer(writer, BODY):
                    return

    async def _answer(self, writer: asyncio.StreamWriter, key: str) -> bool:
        answer = self._answers[key]
        if answer == HANG:
            await asyncio.Event().wait()
        writer.write(answer)
        await writer.drain()
        return answer != DROP
