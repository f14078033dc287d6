"""A receiver of alerts that verifies signatures (Standard Webhooks 1.0.0); standard library only.

WEBHOOK_SECRET=whsec_… python examples/receiver.py 8000
"""

import hmac
import json
import os
import sys
import time
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
seen: set[str] = set()  # a program that runs for months forgets those older than a week


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers["content-length"] or 0), 1_000_000))
        webhook_id, sent_at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        digest = hmac.digest(KEY, f"{webhook_id}.{sent_at}.".encode() + body, "sha256")
        expected = b"v1," + b64encode(digest)
        given = (self.headers["webhook-signature"] or "").encode().split()  # two in a rotation
        genuine = any(hmac.compare_digest(expected, each) for each in given)
        if not genuine or abs(time.time() - int(sent_at)) > 300:
            self.send_error(401)  # sent by somebody else, or sent again by somebody else
            return
        if webhook_id not in seen:  # at least once: a repeated attempt has the id of the first
            seen.add(webhook_id)
            alert = json.loads(body)
            print(alert["type"], alert["data"]["summary"], flush=True)
        self.send_response(204)  # only now: any other answer is tried again
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
