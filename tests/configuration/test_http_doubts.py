"""What settings of the API hardly mean: tokens that have expired, URLs that nobody can follow."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streams.configuration.doubts import doubts
from streams.configuration.models import Configuration
from tests.support.certificates import Authority

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def doubts_about(**http: Any) -> list[str]:
    return doubts(Configuration.model_validate({"http": http}), NOW)


def token(name: str, expires_at: str | None) -> dict[str, Any]:
    return {"name": name, "sha256": "0" * 64, "expires_at": expires_at}


def test_tokens_that_have_expired() -> None:
    tokens = [
        token("past", "2026-11-23T10:00:00Z"),
        token("soon", "2026-11-23T10:00:01Z"),
        token("ever", None),
    ]
    (doubt,) = doubts_about(tokens=tokens)
    assert "token past of http.tokens has expired" in doubt


def test_a_url_without_tls_where_there_is_tls(tmp_path: Path) -> None:
    certificate, key = Authority().issue().write(tmp_path)
    tls = {"certificate_file": str(certificate), "key_file": str(key)}
    secrets = ["0" * 32]
    for scheme, count in (("http", 1), ("https", 0)):
        found = doubts_about(
            tls=tls, advertised_url=f"{scheme}://10.0.0.7:8080", cluster_secrets=secrets
        )
        assert len(found) == count, found
