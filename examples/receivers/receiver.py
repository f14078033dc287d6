"""A receiver of alerts that verifies signatures (Standard Webhooks 1.0.0).

WEBHOOK_KEYS="whsec_… whpk_…" python receiver.py 8000

Shared secrets (whsec_…) need the standard library alone, public keys (whpk_…) the package
`cryptography`.
"""

import hmac
import json
import os
import re
import sys
import time
from base64 import b64decode, b64encode
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_S = 300
MOST_BYTES = 1_000_000


def is_genuine(headers: Message, body: bytes) -> bool:
    """Tell whether one of our keys has signed these bytes, and just now."""
    webhook_id, sent_at = headers.get("webhook-id"), headers.get("webhook-timestamp")
    if not webhook_id or not sent_at or not re.fullmatch("[0-9]{1,12}", sent_at):
        return False
    if abs(time.time() - int(sent_at)) > TOLERANCE_S:
        return False  # sent again by somebody who has overheard it
    signed = f"{webhook_id}.{sent_at}.".encode() + body
    signatures = headers.get("webhook-signature", "").split(" ")
    return any(fits(key, signature, signed) for key in KEYS for signature in signatures)


def fits(key: tuple[str, bytes], signature: str, signed: bytes) -> bool:
    scheme, raw = key
    if scheme == "whsec":
        expected = b"v1," + b64encode(hmac.digest(raw, signed, "sha256"))
        return hmac.compare_digest(expected, signature.encode())  # in constant time
    version, _, value = signature.partition(",")
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(b64decode(value), signed)
    except (InvalidSignature, ValueError):
        return False
    return version == "v1a"


def parsed(key: str) -> tuple[str, bytes]:
    scheme, _, encoded = key.partition("_")
    raw = b64decode(encoded, validate=True)
    if (scheme, len(raw)) != ("whpk", 32) and not (scheme == "whsec" and len(raw) >= 24):
        sys.exit("WEBHOOK_KEYS: expected whsec_… or whpk_…, whole")
    return scheme, raw


class Receiver(BaseHTTPRequestHandler):
    timeout = 10  # for who connects and says nothing

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not re.fullmatch("[0-9]{1,12}", length) or int(length) > MOST_BYTES:
            self.answer(413)
            return
        body = self.rfile.read(int(length))  # these bytes are signed, not what JSON makes of them
        if not is_genuine(self.headers, body):
            self.answer(401)
            return
        webhook_id = self.headers["webhook-id"]
        if webhook_id not in seen:  # at least once: another attempt has the same id
            event = json.loads(body)
            print(event["type"], event["data"]["summary"], flush=True)
            seen.add(webhook_id)
        self.answer(204)  # only now: whatever else is answered is tried again

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


KEYS = [parsed(key) for key in os.environ["WEBHOOK_KEYS"].split()]  # several while one is rotated
seen: set[str] = set()  # in earnest: in your database, and for two weeks

if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
