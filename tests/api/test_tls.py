"""The API over TLS: certificates are exchanged while it runs, and workers check each other's."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from streams.api.client import ApiClient
from streams.api.tls import ServerCertificate, client_context
from streams.commands import main
from streams.configuration.http import HttpSettings, HttpTlsSettings
from streams.domain.partial_counts import partition_of
from streams.errors import ConfigurationError, UserError
from tests.api.conftest import NOW, StartApi
from tests.support.certificates import Authority
from tests.support.http import request
from tests.support.partitions import counts, holder

T0 = int(NOW) - 60


def settings(directory: Path, authority: Authority, **tls: Any) -> HttpSettings:
    certificate, key = authority.issue().write(directory)
    trusted = directory / "ca.pem"
    trusted.write_bytes(authority.pem)
    files = {"certificate_file": certificate, "key_file": key, "ca_file": trusted}
    return HttpSettings.model_validate({"port": 0, "tls": {**files, **tls}})


def trusting(*authorities: Authority) -> ssl.SSLContext:
    pem = b"".join(each.pem for each in authorities).decode()
    return ssl.create_default_context(cadata=pem)


async def served(port: int, tls: ssl.SSLContext) -> dict[str, Any]:
    """The certificate that a new connection is given."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    found: dict[str, Any] = writer.get_extra_info("peercert")
    writer.close()
    return found


def common_name(certificate: dict[str, Any]) -> str:
    return str(dict(certificate["subject"][0])["commonName"])


async def test_over_tls_alone(start: StartApi, tmp_path: Path) -> None:
    authority = Authority()
    api = await start(holder(), settings(tmp_path, authority))
    assert api.url == f"https://127.0.0.1:{api.port}"
    answer = await request(api.port, "/v1/rules", tls=trusting(authority))
    assert answer.status == 200
    for host in ("127.0.0.1", "localhost"):  # without and with a name in the handshake
        assert (await request(api.port, "/livez", host=host, tls=trusting(authority))).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        await request(api.port, "/livez", tls=trusting(Authority("other")))
    with pytest.raises((OSError, IndexError)):
        await request(api.port, "/livez")


async def test_the_live_stream_over_tls_goes_on_after_a_reader_has_paused(
    start: StartApi, tmp_path: Path
) -> None:
    authority, held = Authority(), holder()
    api = await start(held, settings(tmp_path, authority))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", api.port, ssl=trusting(authority), limit=16 * 1024
    )
    target = "/v1/stream?type=window"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    async with asyncio.timeout(30):
        assert b" 200 " in await reader.readline()
        names = [f"{n}-{'x' * 8_000}" for n in range(300)]
        for name in names:
            held.add(name, T0, counts({"SUCCESS": 1}))
        api.commit()
        await asyncio.sleep(0.5)  # it is read by nobody, and more than all buffers hold
        told = bytearray()
        while told.count(b"event: window") < len(names):
            told += await reader.read(64 * 1024)
    writer.close()


async def test_old_versions_of_tls_are_refused(start: StartApi, tmp_path: Path) -> None:
    authority = Authority()
    api = await start(holder(), settings(tmp_path, authority))
    old = trusting(authority)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await request(api.port, "/livez", tls=old)


async def test_a_certificate_is_exchanged_while_it_runs(start: StartApi, tmp_path: Path) -> None:
    authority = Authority()
    api = await start(holder(), settings(tmp_path, authority))
    certificate, tls = api.certificate, trusting(authority)
    assert certificate is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, ssl=tls)
    authority.issue("second").write(tmp_path)
    certificate.reload()
    assert common_name(await served(api.port, tls)) == "second"
    # A connection that is there stays.
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    # Half of the next one: the key does not fit yet.
    third = authority.issue("third")
    (tmp_path / "server.pem").write_bytes(third.certificate)
    with capture_logs() as logs:
        for _ in range(2):
            certificate.reload()
    assert [line["event"] for line in logs] == ["certificate cannot be used: the one before stays"]
    assert logs[0]["reason"] == "key values mismatch"
    assert common_name(await served(api.port, tls)) == "second"
    (tmp_path / "server.key").write_bytes(third.key)
    certificate.reload()
    assert common_name(await served(api.port, tls)) == "third"
    for broken in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n"):
        (tmp_path / "server.pem").write_bytes(broken)
        certificate.reload()
    (tmp_path / "server.pem").unlink()
    certificate.reload()
    assert common_name(await served(api.port, tls)) == "third"


async def test_files_are_looked_at_again_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.api.tls.RELOAD_EVERY", 0.01)
    authority, expires = Authority(), asyncio.Queue[float]()
    files = authority.issue(until=datetime(2090, 1, 1, tzinfo=UTC)).write(tmp_path)
    certificate = ServerCertificate(*files, expires=expires.put_nowait)
    assert expires.get_nowait() == datetime(2090, 1, 1, tzinfo=UTC).timestamp()
    following = asyncio.create_task(certificate.follow())
    authority.issue("new", until=datetime(2091, 1, 1, tzinfo=UTC)).write(tmp_path)
    async with asyncio.timeout(30):
        assert await expires.get() == datetime(2091, 1, 1, tzinfo=UTC).timestamp()
    following.cancel()


def test_a_key_with_a_password_and_one_in_the_same_file(tmp_path: Path) -> None:
    pem = Authority().issue(password=b"sesame")
    certificate, key = pem.write(tmp_path)
    ServerCertificate(certificate, key, "sesame")
    both = tmp_path / "both.pem"
    both.write_bytes(pem.certificate + pem.key)
    ServerCertificate(both, None, "sesame")
    for password in ("", "wrong"):
        with pytest.raises(ConfigurationError, match=r"certificate_file is .*key_password"):
            ServerCertificate(certificate, key, password)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("nonsense", "utf-8")
    with pytest.raises(ConfigurationError, match=r"http.tls.ca_file is .*expected certificates"):
        client_context(HttpTlsSettings(ca_file=nonsense))
    with pytest.raises(ConfigurationError, match="cannot be used with key_file"):
        ServerCertificate.of(HttpTlsSettings(certificate_file=nonsense))
    assert ServerCertificate.of(HttpTlsSettings()) is None


@pytest.mark.parametrize("secrets", [(), ("0" * 32,)])
async def test_workers_ask_each_other_over_tls(
    start: StartApi, tmp_path: Path, secrets: tuple[str, ...]
) -> None:
    authority = Authority()
    http = settings(tmp_path, authority)
    http = HttpSettings.model_validate({**http.model_dump(), "cluster_secrets": secrets})
    one, other = await start(holder(2, (0,)), http), await start(holder(2, (1,)), http)
    one.holder.others[1], other.holder.others[0] = other.url, one.url
    for name in (f"c{n}" for n in range(8)):
        home = (one, other)[partition_of(name, 2)]
        home.holder.add(name, T0, counts({"SUCCESS": 1}))
    answer = await request(one.port, "/v1/campaigns", tls=trusting(authority))
    assert (len(answer.json["campaigns"]), answer.json["missing_partitions"]) == (8, [])


async def test_a_worker_that_is_somebody_else_is_not_believed(
    start: StartApi, tmp_path: Path
) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    authority = Authority()
    api = await start(holder(2, (0,)), settings(tmp_path / "ours", authority))
    stranger = await start(holder(2, (1,)), settings(tmp_path / "theirs", Authority("other")))
    api.holder.others[1] = stranger.url
    with capture_logs() as logs:
        answer = await request(api.port, "/v1/campaigns", tls=trusting(authority))
    assert answer.json["missing_partitions"] == [1]
    assert [line["event"] for line in logs] == ["worker does not answer"]
    assert stranger.answered == []


async def test_programs_are_told_who_vouches(
    start: StartApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority()
    api = await start(holder(), settings(tmp_path, authority))
    client = ApiClient(api.url, None, trusting(authority))
    assert (await asyncio.to_thread(client.get, "v1", "rules"))["rules"]
    with pytest.raises(UserError, match="certificate"):
        await asyncio.to_thread(ApiClient(api.url, None).get, "v1", "rules")
    query = ["query", "alerts", "--url", api.url, "--ca-file"]
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, [*query, str(tmp_path / "ca.pem")])
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, [*query, str(tmp_path / "server.key")])
    assert ended.value.code == 2
    assert "expected certificates in PEM" in capsys.readouterr().err
