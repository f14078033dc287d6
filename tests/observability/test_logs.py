import asyncio
import json
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

import pytest
import structlog

from streams.domain.deliveries import Delivery
from streams.observability.logs import REPEAT_AFTER, Sparing, configure, secret_settings
from streams.receivers.receiver import HttpReceiver, Receiver, Request
from streams.receivers.registry import KINDS
from streams.settings import HIDDEN, Secret


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()
    for name in ("aiohttp", "aiokafka", "asyncio", "faust", "kafka", "mode"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    log = structlog.get_logger("streams.engine")
    log.warning("late event", campaign="a\nb", partition=3, offset=2**70)
    (line,) = lines(capsys)
    record = json.loads(line)
    at = datetime.fromisoformat(record.pop("timestamp"))
    assert at.tzinfo == UTC
    assert record == {
        "event": "late event",
        "level": "warning",
        "logger": "streams.engine",
        "campaign": "a\nb",
        "partition": 3,
        "offset": 2**70,
    }


def test_libraries_go_the_same_way_and_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    logging.getLogger("aiokafka.consumer").info("chatter")
    logging.getLogger("faust.app").warning("rebalanced %s", "task-1")
    logging.getLogger("elsewhere").info("said")
    events = [json.loads(line)["event"] for line in lines(capsys)]
    assert events == ["rebalanced task-1", "said"]


def test_debug_lets_libraries_speak(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug", "json")
    logging.getLogger("aiokafka.consumer").debug("chatter")
    assert [json.loads(line)["event"] for line in lines(capsys)] == ["chatter"]


def test_the_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    configure("error", "text")
    structlog.get_logger("a").warning("not said")
    logging.getLogger("faust").warning("not said")
    structlog.get_logger("a").error("said")
    (line,) = lines(capsys)
    assert "said" in line
    assert "not said" not in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_hidden(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", form)
    log = structlog.get_logger("a")
    log.info("x", password="hunter2", headers={"Authorization": "hunter2"}, token=b"hunter2")
    log.info("signed with whsec_hunter2+/=", request="authorization: Bearer hunter2")
    log.info("signed with whsk_hunter2+/=")
    log.info("x", secrets=["hunter2"], url="https://bob:hunter2@host/", key_password="hunter2")
    logging.getLogger("a").warning("connect(sasl_plain_password='hunter2')")
    try:
        int("Bearer hunter2")
    except ValueError:
        log.exception("failed")
    text = "\n".join(lines(capsys))
    assert "********" in text
    assert "ValueError" in text
    # The traceback quotes the line above, which has it in the clear: as code, not as data.
    assert "hunter2" not in text.replace('int("Bearer hunter2")', "")


class PagingReceiver(HttpReceiver):
    """A kind whose secret has a name that no other kind's has."""

    kind: Literal["paging"] = "paging"
    paging_key: Secret

    def render(self, delivery: Delivery, now: float) -> Request:
        key = self.paging_key.get_secret_value()
        return Request("POST", self.url, {"x-key": key}, f"{delivery.webhook_id} {now}".encode())


@pytest.mark.parametrize("form", ["text", "json"])
def test_secret_settings_of_every_kind_of_receiver_are_hidden(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def logged(kinds: Iterable[type[Receiver]]) -> str:
        configure("info", form, kinds)
        log = structlog.get_logger("a")
        log.info("x", paging_key="hunter2", receiver={"Paging-Key": ["hunter2"], "url": "here"})
        log.info("sent {'paging_key': 'hunter2', 'summary': 'shown'}")
        log.info("PagingReceiver(paging_key=hunter2, timeout=10)", error=ValueError("a key=b"))
        return "\n".join(lines(capsys))

    assert logged(KINDS).count("hunter2") == 4
    text = logged([*KINDS, PagingReceiver])
    assert "hunter2" not in text
    assert text.count(HIDDEN) == 4
    for shown in ("here", "shown", "timeout=10", "a key=b"):
        assert shown in text


def test_kinds_of_the_registry_have_their_secrets_hidden() -> None:
    assert secret_settings(KINDS) >= {"secrets", "token"}


def test_numbers_beside_the_word_token_stay(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    structlog.get_logger("a").info("x", tokens=3)
    assert json.loads(lines(capsys)[0])["tokens"] == 3


def test_text_keeps_control_characters_from_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "text")
    structlog.get_logger("a").info("late event", campaign="\x1b[2Jgone\nnext")
    (line,) = lines(capsys)
    assert "\\x1b[2Jgone\\nnext" in line


def test_text_that_is_no_unicode_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    structlog.get_logger("a").info("x", campaign="\ud800")
    assert json.loads(lines(capsys)[0])["campaign"] == "\ud800"


def test_a_client_that_is_cut_off_does_not_fill_the_log() -> None:
    now = 100.0
    sparing = Sparing(lambda: now)

    def passes(name: str, message: str, *values: object) -> bool:
        record = logging.LogRecord(name, logging.WARNING, "", 0, message, values, None)
        return bool(sparing.filter(record))

    logging.getLogger().setLevel(logging.INFO)
    assert [passes("aiokafka.client", "node %s is away", n) for n in range(3)] == [
        True,
        False,
        False,
    ]
    assert passes("aiokafka.client", "something else")
    assert all(passes("streams.engine.tasks.manager", "task lost") for _ in range(3))
    now += REPEAT_AFTER
    assert passes("aiokafka.client", "node %s is away", 1)
    logging.getLogger().setLevel(logging.DEBUG)
    assert passes("aiokafka.client", "node %s is away", 1)


@pytest.mark.parametrize(("error", "says"), [(asyncio.CancelledError(), 0), (ValueError("x"), 1)])
def test_what_was_cancelled_is_no_error(
    capsys: pytest.CaptureFixture[str], error: BaseException, says: int
) -> None:
    configure("info", "json")
    logging.getLogger("faust.agents.actor").error("Crashed reason=%r", error, exc_info=error)
    assert len(lines(capsys)) == says
