"""A real mail server for tests: Exim, of Debian's package `exim4-daemon-light`.

It needs no rights of its own: all that it writes is in one directory, and it listens on loopback
alone, on ports that anybody may have.
"""

import asyncio
import getpass
import os
import shutil
import ssl
import tempfile
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import ServerProcess
from tests.support.smtp import TLS
from tests.support.waiting import until

PROGRAM = shutil.which("exim4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
USER, PASSWORD = "alerts", "s3cret+/="

CONFIGURATION = """\
primary_hostname = localhost
exim_user = {user}
keep_environment =
never_users =
spool_directory = {directory}/spool
log_file_path = {directory}/%slog
pid_file_path = {directory}/pid
local_interfaces = {address}
daemon_smtp_ports = {port} : {tls_port}
tls_on_connect_ports = {tls_port}
tls_advertise_hosts = *
tls_certificate = {directory}/localhost.pem
tls_privatekey = {directory}/localhost.key
host_lookup =
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  deny    message = log in first
          !authenticated = *
  deny    message = no such person
          local_parts = nobody
  accept
data:
  deny    message = a line is too long, or a header wrong
          !verify = header_syntax
  accept
begin routers
all:
  driver = accept
  transport = files
begin transports
files:
  driver = appendfile
  directory = {directory}/mails
  maildir_format
  batch_max = 100
  envelope_to_add
  return_path_add
  user = {user}
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{{name}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
"""


class RealMailServer:
    """Runs inside `async with`: takes mails over TLS from `USER`, for everybody but `nobody@…`."""

    def __init__(self) -> None:
        self.port = free_port()
        """Where STARTTLS is offered."""
        self.tls_port = free_port()
        """Where TLS begins at once."""

    async def __aenter__(self) -> Self:
        assert PROGRAM is not None
        # Not pytest's own, which nobody else may look into.
        self.directory = Path(tempfile.mkdtemp(prefix="exim-"))
        user = "Debian-exim" if os.geteuid() == 0 else getpass.getuser()
        for name in ("localhost.pem", "localhost.key"):
            shutil.copyfile(TLS / name, self.directory / name)
        (self.directory / "mails").mkdir()
        (self.directory / "spool").mkdir()
        self.directory.chmod(0o755)
        file = self.directory / "exim.conf"
        file.write_text(
            CONFIGURATION.format(
                user=user,
                directory=self.directory,
                address=LOOPBACK,
                port=self.port,
                tls_port=self.tls_port,
                name=USER,
                password=PASSWORD,
            )
        )
        if os.geteuid() == 0:
            for path in (self.directory, *self.directory.iterdir()):
                if path != file:
                    shutil.chown(path, user)
        command = [PROGRAM, "-C", str(file), "-bdf"]
        self._process = ServerProcess(command, log_file=self.directory / "output")
        await until(self._listens)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._process.stop)
        shutil.rmtree(self.directory)

    def mails(self) -> list[EmailMessage]:
        """Return what was delivered, in the order in which it came."""
        found = (self.directory / "mails").glob("new/*")
        return [_mail(path.read_bytes()) for path in sorted(found, key=_written_at)]

    @property
    def log(self) -> str:
        """What it says of the mails that it took and refused."""
        return (self.directory / "mainlog").read_text()

    async def wait_for(self, count: int) -> list[EmailMessage]:
        """Return what was delivered, as soon as that is so many mails."""

        async def are_there() -> bool:
            return len(self.mails()) >= count

        await until(are_there)
        return self.mails()

    async def _listens(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
            greeting = await reader.readline()
            writer.close()
        except (OSError, ssl.SSLError):
            return False
        return greeting.startswith(b"220")


def _mail(written: bytes) -> EmailMessage:
    message = message_from_bytes(written, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _written_at(path: Path) -> int:
    return path.stat().st_mtime_ns
