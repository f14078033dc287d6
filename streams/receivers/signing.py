"""Signatures of the Standard Webhooks specification, 1.0.0 (https://www.standardwebhooks.com).

There are two schemes: `v1` is HMAC-SHA256 with a secret that sender and receiver share, `v1a` is
ed25519 (RFC 8032), of which receivers have the public key alone. The prefix of a secret says which
scheme it is for.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SHARED_PREFIX = "whsec_"
"""What a secret of the scheme `v1` begins with."""
PRIVATE_PREFIX = "whsk_"
"""What a private key of the scheme `v1a` begins with."""
PUBLIC_PREFIX = "whpk_"
"""What the public key of a private key begins with. Nothing can be signed with it."""

_KEY_BYTES = range(24, 65)
_SEED_BYTES = 32
_KEY_PAIR_BYTES = 64


def signed_headers(
    webhook_id: str, timestamp: int, body: bytes, secrets: Iterable[str]
) -> dict[str, str]:
    """Return the three headers that let a receiver check where a body comes from.

    What is signed is `<id>.<timestamp>.<body>`.

    Args:
        webhook_id: the same for every attempt.
        timestamp: of this attempt, in seconds since the epoch.
        body: what is sent, to the byte.
        secrets: as `check_secret` takes them; several, also of both schemes, while one is rotated,
            and one signature for each, in their order.

    Raises:
        ValueError: if a secret is not of this form; it does not say the secret.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(signed, secret) for secret in secrets),
    }


def check_secret(secret: str) -> None:
    """Refuse what nothing can be signed with.

    A secret is `whsec_` and the base64 of 24 to 64 bytes, or `whsk_` and the base64 of an ed25519
    private key: its seed (32 bytes), or the seed and the public key (64 bytes, as libsodium and
    Svix write it).

    Raises:
        ValueError: says what is expected, without the secret.
    """
    if secret.startswith(PRIVATE_PREFIX):
        _private_key(secret)
    else:
        _shared_key(secret)


def _signature(signed: bytes, secret: str) -> str:
    if secret.startswith(PRIVATE_PREFIX):
        version, signature = "v1a", _private_key(secret).sign(signed)
    else:
        version, signature = "v1", hmac.digest(_shared_key(secret), signed, hashlib.sha256)
    return f"{version}," + base64.b64encode(signature).decode()


def _shared_key(secret: str) -> bytes:
    if secret.startswith(PUBLIC_PREFIX):
        raise ValueError(
            f"expected {PRIVATE_PREFIX} and the private key; {PUBLIC_PREFIX} is for receivers"
        )
    if not secret.startswith(SHARED_PREFIX):
        raise ValueError(f"expected {SHARED_PREFIX} or {PRIVATE_PREFIX} followed by base64")
    key = _decoded(secret, SHARED_PREFIX)
    if len(key) not in _KEY_BYTES:
        raise ValueError(f"expected a key of 24 to 64 bytes, this one has {len(key)}")
    return key


def _private_key(secret: str) -> Ed25519PrivateKey:
    key = _decoded(secret, PRIVATE_PREFIX)
    if len(key) not in {_SEED_BYTES, _KEY_PAIR_BYTES}:
        raise ValueError(f"expected an ed25519 key of 32 or 64 bytes, this one has {len(key)}")
    seed, public = key[:_SEED_BYTES], key[_SEED_BYTES:]
    private = Ed25519PrivateKey.from_private_bytes(seed)
    if public and private.public_key().public_bytes_raw() != public:
        raise ValueError("expected an ed25519 private key and its own public key after it")
    return private


def _decoded(secret: str, prefix: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(prefix), validate=True)
    except ValueError:
        # Not chained: the original may name the secret's characters.
        raise ValueError(f"expected valid base64 after {prefix}") from None
