"""Records for the source topic as no test would think of them: real events, mutated.

The events are those that the vendor documents, and what a public sample recorded. Structure-aware
mutations change what the events say: fields go, move, repeat, get other types, odd numbers, long
and strange names. Mutations of bytes damage how they say it. The same seed gives the same records.

`make fuzz` takes a million of them through the counting without a broker (tests/fuzz.py).
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import orjson

UNTIL = 1_790_000_000_000
HOUR_MS = 3_600_000

VENDOR_ENDPOINT = (
    '{"ChannelType":"GCM","EndpointStatus":"ACTIVE","OptOut":"NONE",'
    '"RequestId":"ec229696-9d1e-11e9-8bf1-85d0aexample",'
    '"EffectiveDate":"2019-07-02T23:12:54.836Z","User":{}}'
)
SMS_ENDPOINT = (
    '{"ChannelType":"SMS","EndpointStatus":"ACTIVE","OptOut":"NONE",'
    '"EffectiveDate":"2020-06-12T20:42:30.309Z",'
    '"Attributes":{"Item":["Plant"],"PricePaid":["34"]},"User":{"UserId":"User2"}}'
)


def documented_send() -> dict[str, Any]:
    """Return the event of the vendor's documentation."""
    return {
        "event_type": "_campaign.send",
        "event_timestamp": 1562109497426,
        "arrival_timestamp": 1562109497494,
        "event_version": "3.1",
        "application": {"app_id": "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6", "sdk": {}},
        "client": {"client_id": "d8dcf7c5-e81a-48ae-8313-f540cexample"},
        "device": {"platform": {}},
        "session": {},
        "attributes": {
            "treatment_id": "0",
            "campaign_activity_id": "5473285727f04865bc673e527example",
            "delivery_type": "GCM",
            "campaign_id": "4f8d6097c2e8400fa3081d875example",
            "campaign_send_status": "SUCCESS",
        },
        "client_context": {"custom": {"endpoint": VENDOR_ENDPOINT}},
        "awsAccountId": "123456789012",
    }


def recorded_send() -> dict[str, Any]:
    """Return a recorded event: an SMS, without a delivery type."""
    return {
        "event_type": "_campaign.send",
        "event_timestamp": 1591996341697,
        "arrival_timestamp": 1591996342337,
        "event_version": "3.1",
        "application": {"app_id": "xxxx", "sdk": {}},
        "client": {"client_id": "updatemesms2"},
        "device": {"platform": {}},
        "session": {},
        "attributes": {
            "campaign_activity_id": "e307c199592a41a280a73df802299d81",
            "campaign_send_status": "SUCCESS",
            "campaign_type": None,
            "treatment_id": "0",
            "campaign_id": "bc3727c0ee2c428b876489de58230c52",
        },
        "client_context": {"custom": {"endpoint": SMS_ENDPOINT}},
        "awsAccountId": "xxxx",
    }


def recorded_sms() -> dict[str, Any]:
    """Return a recorded event of another kind, of the same campaign."""
    return {
        "event_type": "_SMS.BUFFERED",
        "event_timestamp": 1591996342078,
        "arrival_timestamp": 1591996341719,
        "event_version": "3.1",
        "application": {"app_id": "xxxx", "sdk": {}},
        "client": {"client_id": "updatemesms2"},
        "device": {"platform": {}},
        "session": {},
        "attributes": {
            "sender_request_id": "9dbef9bc-b82e-4320-a365-xxx",
            "campaign_activity_id": "e307c199592a41a280a73df802299d81",
            "destination_phone_number": "+1xxxx",
            "record_status": "SUCCESSFUL",
            "iso_country_code": "US",
            "treatment_id": "0",
            "number_of_message_parts": "1",
            "message_id": "xxxx",
            "message_type": "Transactional",
            "campaign_id": "bc3727c0ee2c428b876489de58230c52",
            "customer_context": '{"userId":"User2"}',
        },
        "metrics": {"price_in_millicents_usd": 645.0},
        "awsAccountId": "xxxx",
    }


def engagement() -> dict[str, Any]:
    """Return an engagement event with its endpoint beside the attributes, as Android reports it."""
    event = documented_send()
    del event["client_context"], event["attributes"]["delivery_type"]
    del event["attributes"]["campaign_send_status"]
    event |= {"event_type": "_campaign.opened_notification", "event_version": "3.0"}
    return event | {"endpoint": {"ChannelType": "GCM", "OptOut": "NONE", "User": {}}}


EVENTS = (documented_send, documented_send, recorded_send, recorded_sms, engagement)

CAMPAIGNS = tuple(f"{n:032x}" for n in range(40))
STATUSES = (
    *("SUCCESS", "FAILURE", "THROTTLED", "DAILY_CAP", "UNKNOWN", "success", "Failure", "FAILURE "),
    *("transient-failure", "Übermorgen", "S" * 300, "\x1b[31mRED", "__other__"),
)
KINDS = (
    *("_campaign.send", "_campaign.opened_notification", "_campaign.received_foreground"),
    *("_campaign.received_background", "_campaign.of_tomorrow", "_email.send", "_journey.send"),
    *("checkout.done", "", "_campaign.", "."),
)
ODD_TEXT = (
    *("", " ", "\x00", "\x1b[2J", "a/b", "..", "%2e%2e", "🎈", "ünïcode", 'q"uote\\', "\u2028"),
    *("\ufeff", "\ufdd0", "x" * 500, "x" * 5_000, "null", "NaN", "0", "GCM", "EMAIL", "CUSTOM"),
)
SCRAPS = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\x00", b"\xff", b"\xc3"),
    *(b"\\u", b"\\ud800", b"\\udc00", b"1e9999", b"-", b".0", b"e12", b"null", b"NaN", b"\xef\xbb"),
    *(b"\xed\xa0\x80", b"[" * 300, b"[" * 600, b'{"a":' * 700, b'"\\ud83d\\ude00"'),
)
# Put in for a string of the same name, as JSON libraries write no such values.
RAW_VALUES = {
    "@half": b'"\\ud800"',
    "@other-half": b'"x\\udc00y"',
    "@infinite": b"1e9999",
    "@minus-infinite": b"-1e9999",
    "@tiny": b"1e-9999",
    "@huge": b"9" * 40,
    "@long": b"9" * 6_000,
    "@not-a-number": b"NaN",
    "@deep": b"[" * 480 + b"]" * 480,
    "@too-deep": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "@escaped": b'"\\u0041\\n\\ud83c\\udf88"',
}


def records(seed: int, until: int = UNTIL) -> Iterator[bytes | None]:
    """Yield records without end; most events have times in the half hour before `until` (ms)."""
    return _Fuzzer(seed, until).records()


class _Fuzzer:
    def __init__(self, seed: int, until: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - repeatable
        self._until = until

    def records(self) -> Iterator[bytes | None]:
        while True:
            yield self._record()

    def _record(self) -> bytes | None:
        chance = self._chance
        value = self._event()
        kind = chance.random()
        if kind < 0.75:
            return value
        if kind < 0.97:
            for _ in range(chance.choice((1, 1, 2, 5))):
                value = chance.choice(BYTE_MUTATIONS)(chance, value)
            return value
        return chance.choice((None, b"", b"[]", b"null", b"7", b'"x"', chance.randbytes(40)))

    def _event(self) -> bytes:
        chance = self._chance
        event = chance.choice(EVENTS)()
        event["attributes"]["campaign_id"] = chance.choice(CAMPAIGNS)
        event["event_timestamp"] = self._time()
        if "campaign_send_status" in event["attributes"]:
            event["attributes"]["campaign_send_status"] = chance.choice(STATUSES)
        if chance.random() < 0.1:
            event["event_type"] = chance.choice(KINDS)
        # Two thirds stay as they are: there has to be something to be counted among the rest.
        for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2, 4))):
            chance.choice(MUTATIONS)(self, event)
        return self._written(event)

    def _time(self) -> Any:
        chance, until = self._chance, self._until
        time = until - chance.randrange(1_800_000)
        return chance.choices(
            (
                *(time, time - 30 * HOUR_MS, until + chance.randrange(600_000), float(time)),
                *(time + 0.5, time // 1000, time * 1000, 0, -time, str(time), 2**63, "@huge"),
            ),
            (150, *(1 for _ in range(11))),
        )[0]

    # What the events say

    def remove(self, event: dict[str, Any]) -> None:
        holder = self._holder(event)
        if holder:
            del holder[self._chance.choice(list(holder))]

    def replace(self, event: dict[str, Any]) -> None:
        holder = self._holder(event)
        if holder:
            holder[self._chance.choice(list(holder))] = self._anything()

    def add(self, event: dict[str, Any]) -> None:
        self._holder(event)[self._chance.choice(ODD_TEXT)] = self._anything()

    def move(self, event: dict[str, Any]) -> None:
        source, target = self._holder(event), self._holder(event)
        if source:
            name = self._chance.choice(list(source))
            value = source.pop(name)
            if value is not target:
                target.setdefault(name, value)

    def rename(self, event: dict[str, Any]) -> None:
        holder = self._holder(event)
        if holder:
            name = self._chance.choice(list(holder))
            change = self._chance.choice((str.upper, str.title, lambda text: f" {text}"))
            holder[change(name)] = holder.pop(name)

    def endpoint(self, event: dict[str, Any]) -> None:
        channel = self._chance.choice(("SMS", "GCM", "", 7, None, "\x1b[31m"))
        record: Any = {"ChannelType": channel, "User": {}}
        form = self._chance.randrange(4)
        if form == 0:
            record = orjson.dumps(record).decode()
        elif form == 1:
            record = orjson.dumps(record).decode()[:-3]
        elif form == 2:
            record = "[" * 700
        if self._chance.random() < 0.5:
            event["endpoint"] = record
        else:
            event["client_context"] = {"custom": {"endpoint": record}}

    def delivery(self, event: dict[str, Any]) -> None:
        if isinstance(event.get("attributes"), dict):
            event["attributes"]["delivery_type"] = self._chance.choice(("", "CUSTOM", "SMS", None))

    def fill(self, event: dict[str, Any]) -> None:
        (many,) = self._chance.choices((20, 60, 400, 9_000), (30, 30, 9, 1))
        event["metrics"] = {f"m{n}": n / 7 for n in range(many)}

    def _holder(self, event: dict[str, Any]) -> dict[str, Any]:
        inner = [each for each in event.values() if isinstance(each, dict)]
        return self._chance.choice([event, event, *inner])

    def _anything(self) -> Any:
        chance = self._chance
        number = chance.choice((0, -1, 1.5, 2**53 + 1, 2**64 - 1, 1e300, self._until))
        return chance.choice(
            (
                *(None, True, False, number, chance.choice(ODD_TEXT), chance.choice(ODD_TEXT)),
                *([], {}, [number, [number]], {"a": {"b": number}}, chance.choice([*RAW_VALUES])),
            )
        )

    def _written(self, event: dict[str, Any]) -> bytes:
        chance = self._chance
        value = orjson.dumps(event, option=orjson.OPT_INDENT_2 if chance.random() < 0.05 else 0)
        for name, raw in RAW_VALUES.items():
            value = value.replace(f'"{name}"'.encode(), raw)
        return value


MUTATIONS: tuple[Callable[[_Fuzzer, dict[str, Any]], None], ...] = (
    *(_Fuzzer.remove, _Fuzzer.replace, _Fuzzer.replace, _Fuzzer.add, _Fuzzer.move),
    *(_Fuzzer.rename, _Fuzzer.endpoint, _Fuzzer.delivery, _Fuzzer.fill),
)


# How they say it


def _insert(chance: random.Random, value: bytes) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + chance.choice(SCRAPS) + value[at:]


def _overwrite(chance: random.Random, value: bytes) -> bytes:
    at = chance.randrange(len(value) + 1)
    scrap = chance.choice((*SCRAPS, chance.randbytes(chance.randrange(1, 5))))
    return value[:at] + scrap + value[at + len(scrap) :]


def _delete(chance: random.Random, value: bytes) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + value[at + chance.choice((1, 2, 20, 300)) :]


def _flip(chance: random.Random, value: bytes) -> bytes:
    if not value:
        return value
    at = chance.randrange(len(value))
    return value[:at] + bytes((value[at] ^ 1 << chance.randrange(8),)) + value[at + 1 :]


def _repeat(chance: random.Random, value: bytes) -> bytes:
    """Say a member twice, or what is there twice over."""
    at = value.find(b",", chance.randrange(len(value) + 1))
    end = value.find(b",", at + 1)
    part = value[at:end] if 0 <= at < end else value
    return value[:at] + part + value[at:] if at >= 0 else value + part


def _cut(chance: random.Random, value: bytes) -> bytes:
    return value[: chance.randrange(len(value) + 1)]


def _pad(chance: random.Random, value: bytes) -> bytes:
    return value + b" " * chance.choices((1, 10, 1_000, 300_000), (30, 30, 39, 1))[0]


BYTE_MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_insert, _insert, _overwrite, _overwrite, _delete, _flip, _flip, _flip, _repeat, _cut, _pad),
)
