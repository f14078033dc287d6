"""The scenarios that CloudEvents has for its HTTP binding, read and written.

Source: `features/http-protocol-binding.feature` in https://github.com/cloudevents/conformance, at
commit 7a8ee0ac0e782bba1ba30e58c62d24d2e6c337e5. They say how a request is read. So what reads the
requests in other tests has to read these; and what is sent over a connection, where it is to be the
same event, has to be the same request, but for `subject`, which every event of ours has.
"""

import asyncio
from typing import Any

import h11
import orjson
import pytest

from streams.receivers.cloudevents import Attributes, CloudEventsReceiver, _in_headers
from streams.receivers.outcomes import Delivered
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from tests.support.cloudevents import event_of
from tests.support.deliveries import delivery_of

ATTRIBUTES = {
    "id": "1234-1234-1234",
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext/subcontext",
    "time": "2018-04-05T03:56:24Z",
}
DATA = {"message": "Hello World!"}

BINARY = """\
POST /someresource HTTP/1.1
Host: example.com
ce-specversion: 1.0
ce-type: com.example.someevent
ce-time: 2018-04-05T03:56:24Z
ce-id: 1234-1234-1234
ce-source: /mycontext/subcontext
Content-Type: {content_type}
Content-Length: 33

{{
    "message": "Hello World!"
}}"""

STRUCTURED = """\
POST /someresource HTTP/1.1
Host: example.com
Content-Type: {content_type}
Content-Length: 266

{{
    "specversion": "1.0",
    "type": "com.example.someevent",
    "time": "2018-04-05T03:56:24Z",
    "id": "1234-1234-1234",
    "source": "/mycontext/subcontext",
    "datacontenttype": "application/json",
    "data": {{
        "message": "Hello World!"
    }}
}}"""

SCENARIOS = [
    ("binary", BINARY, "application/json", "application/json"),
    ("binary", BINARY, "application/json; charset=utf-8", "application/json; charset=utf-8"),
    ("structured", STRUCTURED, "application/cloudevents+json", "application/json"),
    ("structured", STRUCTURED, "application/cloudevents+json; charset=utf-8", "application/json"),
]
"""Content mode, request, the content type in it, the attribute `datacontenttype`."""


def request_of(text: str, content_type: str) -> bytes:
    head, _, body = text.format(content_type=content_type).partition("\n\n")
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()


def parsed(raw: bytes) -> tuple[h11.Request, dict[str, str], bytes]:
    """Read a request; return it, its headers and its body."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    request, body = connection.next_event(), b""
    assert isinstance(request, h11.Request)
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return request, {name.decode(): value.decode() for name, value in request.headers}, body


@pytest.mark.parametrize(("mode", "text", "content_type", "data_type"), SCENARIOS)
def test_a_scenario_is_read(mode: str, text: str, content_type: str, data_type: str) -> None:
    del mode
    _, headers, body = parsed(request_of(text, content_type))
    expected: dict[str, Any] = {**ATTRIBUTES, "datacontenttype": data_type, "data": DATA}
    assert event_of(headers, body) == expected


def test_an_attribute_in_a_header_is_percent_encoded() -> None:
    """The example in 3.1.3.2 of the HTTP binding, 1.0.2."""
    attributes = Attributes(**{**ATTRIBUTES, "subject": "Euro \u20ac \U0001f600"})
    assert _in_headers(attributes)["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80"


async def sent(mode: str) -> bytes:
    """Send the scenarios' event to a socket; return what came there."""
    came = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.lower().partition(b"content-length: ")
        came.set_result(head + await reader.readexactly(int(rest.split()[0])))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        receiver = CloudEventsReceiver.model_validate(
            {
                "name": "events",
                "url": f"http://127.0.0.1:{port}/someresource",
                "mode": mode,
                "source": ATTRIBUTES["source"],
            }
        )
        transition = {"type": ATTRIBUTES["type"], "timestamp": ATTRIBUTES["time"], "data": DATA}
        delivery = delivery_of("a.1", orjson.dumps(transition).decode())
        delivery.webhook_id = ATTRIBUTES["id"]
        client = WebhookClient(Guard(["127.0.0.0/8"]), allow_http=True)
        assert await client.send(receiver, delivery, 0.0) == Delivered(204)
        raw: bytes = await came
    return raw


async def test_binary_is_sent_as_in_the_scenario() -> None:
    request, headers, body = parsed(await sent("binary"))
    expected, named, written = parsed(request_of(BINARY, "application/json"))
    assert (request.method, request.target) == (expected.method, expected.target)
    del named["host"], named["content-length"]
    assert {name: headers[name] for name in named} == named
    assert {n for n in headers if n.startswith("ce-")} - named.keys() == {"ce-subject"}
    assert orjson.loads(body) == orjson.loads(written)


async def test_structured_is_sent_as_in_the_scenario() -> None:
    request, headers, body = parsed(await sent("structured"))
    expected, named, written = parsed(request_of(STRUCTURED, "application/cloudevents+json"))
    assert (request.method, request.target) == (expected.method, expected.target)
    assert headers["content-type"] == named["content-type"]
    assert not [name for name in headers if name.startswith("ce-")]
    event = orjson.loads(body)
    assert event.pop("subject") == "c"
    assert event == orjson.loads(written)
