"""Signatures of the Standard Webhooks specification, 1.0.0 (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
_KEY_BYTES = range(24, 65)


def signed_headers(
    webhook_id: str, timestamp: int, body: bytes, secrets: Iterable[str]
) -> dict[str, str]:
    """Return the three headers that let a receiver check where a body comes from.

    What is signed is `<id>.<timestamp>.<body>`.

    Args:
        webhook_id: the same for every attempt.
        timestamp: of this attempt, in seconds since the epoch.
        body: what is sent, to the byte.
        secrets: `whsec_` and base64; several while one is rotated, and one signature for each.

    Raises:
        ValueError: if a secret is not of this form.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(signed, _key(secret)) for secret in secrets),
    }


def check_secret(secret: str) -> None:
    """Refuse what is not `whsec_` and the base64 of 24 to 64 bytes.

    Raises:
        ValueError: says what is expected, without the secret.
    """
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"expected {SECRET_PREFIX} followed by base64")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"expected valid base64 after {SECRET_PREFIX}") from None
    if len(key) not in _KEY_BYTES:
        raise ValueError(f"expected a key of 24 to 64 bytes, this one has {len(key)}")


def _signature(signed: bytes, key: bytes) -> str:
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret begins with {SECRET_PREFIX}")
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        # Not chained: the original names the secret's characters.
        raise ValueError(f"a webhook secret is base64 after {SECRET_PREFIX}") from None
