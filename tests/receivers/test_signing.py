"""Signatures: published vectors, and checks with the independent `standardwebhooks` package.

Vectors of `v1`: `test_sign` of `libraries/rust` and `test_sign_function` of `libraries/python` in
https://github.com/standard-webhooks/standard-webhooks. At commit
b2fa7b8719fb75d326b591077f5d1b385cfcdfae the nine libraries there have these two alone; what they
try to verify is in `tests/examples/test_verification.py`. They have none of `v1a`: that is
`test_asymmetric_key_signing` of `server/svix-server/src/worker.rs` in
https://github.com/svix/svix-webhooks, and the specification has its signature as an example.
"""

import time
from base64 import b64decode, b64encode

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from streams.receivers.signing import check_secret, signed_headers

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PRIVATE = (
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
)
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
BODY = '{"summary": "ünïcode"}'
SVIX_BODY = b'{"test": 2432232314}'

SEED = "whsk_" + b64encode(b64decode(PRIVATE.removeprefix("whsk_"))[:32]).decode()
MISMATCHED = "whsk_" + b64encode(b64decode(PRIVATE.removeprefix("whsk_"))[:32] + bytes(32)).decode()


def has_signed(public: str, headers: dict[str, str], body: bytes) -> bool:
    """Tell whether one of the signatures is of a public key: what a receiver does."""
    key = Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for each in headers["webhook-signature"].split(" "):
        version, _, signature = each.partition(",")
        try:
            if version == "v1a":
                key.verify(b64decode(signature), signed)
                return True
        except InvalidSignature:
            continue
    return False


@pytest.mark.parametrize(
    ("secret", "webhook_id", "timestamp", "body", "signature"),
    [
        (
            OLD,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            SVIX_BODY,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            NEW,
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1649367553,
            b'{"email":"test@example.com","username":"test_user"}',
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
        (
            PRIVATE,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            SVIX_BODY,
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
        ),
    ],
    ids=["v1 of python", "v1 of rust", "v1a of svix"],
)
def test_published_vectors(
    secret: str, webhook_id: str, timestamp: int, body: bytes, signature: str
) -> None:
    assert signed_headers(webhook_id, timestamp, body, [secret]) == {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


def test_a_seed_is_the_same_key() -> None:
    headers = signed_headers("a.1", 1, b"{}", [SEED])
    assert headers == signed_headers("a.1", 1, b"{}", [PRIVATE])
    assert has_signed(PUBLIC, headers, b"{}")
    assert not has_signed(PUBLIC, headers, b"{} ")


def test_while_keys_of_both_schemes_are_rotated_receivers_with_any_accept() -> None:
    other = Ed25519PrivateKey.generate()
    new = "whsk_" + b64encode(other.private_bytes_raw()).decode()
    headers = signed_headers("a.1", int(time.time()), BODY.encode(), [new, OLD, PRIVATE, NEW])
    versions = [each.partition(",")[0] for each in headers["webhook-signature"].split(" ")]
    assert versions == ["v1a", "v1", "v1a", "v1"]
    for secret in (OLD, NEW):
        Webhook(secret).verify(BODY, headers)
    for public in (PUBLIC, b64encode(other.public_key().public_bytes_raw()).decode()):
        assert has_signed(public, headers, BODY.encode())


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_while_a_secret_is_rotated_receivers_with_either_accept(secret: str) -> None:
    headers = signed_headers("a.1", int(time.time()), BODY.encode(), [NEW, OLD])

    Webhook(secret).verify(BODY, headers)


def test_another_body_does_not_fit() -> None:
    headers = signed_headers("a.1", int(time.time()), BODY.encode(), [OLD])

    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY + " ", headers)


@pytest.mark.parametrize("secret", [OLD, NEW, PRIVATE, SEED])
def test_right_secrets(secret: str) -> None:
    check_secret(secret)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "expected whsec_ or whsk_ followed by base64"),
        ("whsec_not base64", "valid base64 after whsec_"),
        ("whsec_bm90LXZhbGlkCg==", "24 to 64 bytes, this one has 10"),
        ("whsk_6Xb/dCcHpPea21PS1N9VY", "valid base64 after whsk_"),
        ("whsk_ü", "valid base64 after whsk_"),
        ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "32 or 64 bytes, this one has 24"),
        (MISMATCHED, "its own public key"),
        (PUBLIC, "expected whsk_ and the private key; whpk_ is for receivers"),
    ],
)
def test_a_wrong_secret_is_refused_and_not_named(secret: str, message: str) -> None:
    for refuse in (check_secret, lambda secret: signed_headers("a.1", 0, b"", [secret])):
        with pytest.raises(ValueError, match=message) as raised:
            refuse(secret)
        assert secret[5:].lstrip("_") not in str(raised.value)
        assert raised.value.__cause__ is None
