import pytest

from streams.errors import BrokerUnavailableError, TopicError
from streams.traffic.sending import Account, Sender, campaign_key
from tests.support.ports import free_port
from tests.traffic.topics import contents, make_topic

EVENTS = [b'{"attributes":{"campaign_id":"c%d"},"n":%d}' % (n % 5, n) for n in range(2000)]


def test_the_account_counts_by_reason_and_keeps_the_first_place() -> None:
    account = Account(sent=1234)
    account.fail("not JSON", 1, "a, line 3")
    account.fail("not JSON", 2, "a, line 9")
    account.fail("too large", 1, "b, byte 0")
    assert account.unsent == 4
    assert list(account.lines()) == [
        "sent 1,234 events",
        "not sent 3: not JSON (first: a, line 3)",
        "not sent 1: too large (first: b, byte 0)",
    ]


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (b'{"attributes":{"campaign_id":"\xc3\xbcn"}}', "ün".encode()),
        (b'{"attributes":{"campaign_id":7}}', None),
        (b'{"attributes":{}}', None),
        (b"[]", None),
    ],
)
def test_the_key_is_the_campaign(event: bytes, key: bytes | None) -> None:
    assert campaign_key(event) == key


@pytest.mark.embedded
async def test_everything_arrives_over_all_partitions(embedded_broker: str, unique: str) -> None:
    await make_topic(embedded_broker, unique, 3)
    async with Sender({"bootstrap_servers": [embedded_broker]}, unique) as sender:
        for start in range(0, 2000, 100):
            await sender.send(EVENTS[start : start + 100])
    assert sender.account == Account(sent=2000)
    found = await contents(embedded_broker, unique, 2000)
    assert sorted(record.value for record in found) == sorted(EVENTS)
    assert {record.partition for record in found} == {0, 1, 2}
    assert {record.key for record in found} == {None}


@pytest.mark.embedded
async def test_keys_keep_a_campaign_in_one_partition_and_in_order(
    embedded_broker: str, unique: str
) -> None:
    await make_topic(embedded_broker, unique, 3)
    connection = {"bootstrap_servers": [embedded_broker]}
    async with Sender(connection, unique, key=campaign_key) as sender:
        for start in range(0, 2000, 100):
            await sender.send(EVENTS[start : start + 100])
    found = await contents(embedded_broker, unique, 2000)
    for campaign in range(5):
        key = b"c%d" % campaign
        own = [record for record in found if record.key == key]
        assert len({record.partition for record in own}) == 1
        assert [record.value for record in own] == EVENTS[campaign::5]


@pytest.mark.embedded
async def test_a_missing_topic_is_named_and_not_made(embedded_broker: str, unique: str) -> None:
    for _ in range(2):
        with pytest.raises(TopicError, match=f"no topic {unique} .*topics create"):
            async with Sender({"bootstrap_servers": [embedded_broker]}, unique):
                pass


async def test_a_broker_that_is_away_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnavailableError, match=address):
        async with Sender({"bootstrap_servers": [address]}, "any"):
            pass


@pytest.mark.embedded
async def test_a_broker_that_cannot_be_exact_says_what_to_set(
    embedded_broker: str, unique: str
) -> None:
    await make_topic(embedded_broker, unique, 1)
    connection = {"bootstrap_servers": [embedded_broker]}
    with pytest.raises(BrokerUnavailableError, match=r"kafka\.guarantee: at-least-once"):
        async with Sender(connection, unique, idempotent=True):
            pass


@pytest.mark.kafka
async def test_an_event_that_the_broker_refuses_is_accounted_for_and_the_rest_is_sent(
    kafka: object, unique: str
) -> None:
    address = kafka.address  # type: ignore[attr-defined] # see tests.support.brokers
    await make_topic(address, unique, 2)
    connection = {"bootstrap_servers": [address]}
    async with Sender(connection, unique, idempotent=True) as sender:
        await sender.send(EVENTS[:10], "first")
        await sender.send([b'{"a":"' + b"x" * 3_000_000 + b'"}', EVENTS[10]], "second")
        await sender.send(EVENTS[11:20], "third")
    assert sender.account.sent == 20
    assert sender.account.unsent == 1
    assert next(iter(sender.account.failed.values()))[1] == "second"
    found = await contents(address, unique, 20)
    assert sorted(record.value for record in found) == sorted(EVENTS[:20])
