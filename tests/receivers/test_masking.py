"""Secrets of receivers in what is shown: in any form, and cut off in the middle."""

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from streams.receivers.cloudevents import CloudEventsReceiver
from streams.receivers.masking import SHORTEST_PART, Masking
from streams.settings import HIDDEN
from tests.support.deliveries import webhook_to
from tests.support.kinds import SLACK_PATH, channel, pager
from tests.support.pagerduty import ROUTING_KEY
from tests.support.receiver import SECRET


def with_token(token: str, url: str = "https://a.example/") -> CloudEventsReceiver:
    return CloudEventsReceiver(name="events", url=url, token=SecretStr(token))


def test_each_kind_of_secret_is_hidden() -> None:
    assert Masking(pager()).hide(f'{{"routing_key":"{ROUTING_KEY}"}}') == (
        f'{{"routing_key":"{HIDDEN}"}}'
    )
    shown = Masking(channel()).hide(f"POST /services/{SLACK_PATH} HTTP/1.1")
    assert shown == f"POST /services/{HIDDEN} HTTP/1.1"
    for text in (SECRET, SECRET.removeprefix("whsec_"), f"wrong: {SECRET.upper()}"):
        assert "MfKQ9r8G" not in Masking(webhook_to("https://a.example/")).hide(text)
    assert Masking(webhook_to("https://a.example/")).hide("nothing") == "nothing"


def test_parts_of_a_secret_are_hidden_as_well() -> None:
    last = SLACK_PATH.split("/")[-1]
    assert Masking(channel()).hide(f"no webhook {last}") == f"no webhook {HIDDEN}"


@pytest.mark.parametrize("url", ["https://a.example/hook?key=hunter2-hunter2&x=1"])
def test_the_query_of_a_url_is_hidden_and_its_values(url: str) -> None:
    masking = Masking(webhook_to(url))
    assert (
        masking.hide("POST /hook?key=hunter2-hunter2&x=1 HTTP/1.1")
        == f"POST /hook?{HIDDEN} HTTP/1.1"
    )
    assert masking.hide("wrong key hunter2-hunter2 of x=1") == f"wrong key {HIDDEN} of x=1"


tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)


@given(tokens)
def test_in_whatever_form_an_answer_repeats_it(token: str) -> None:
    masking = Masking(with_token(token))
    forms = (token, json.dumps(token)[1:-1], quote(token, safe=""), html.escape(token))
    for form in {*forms, token.lower(), quote(token, safe="").lower()}:
        assert masking.hide(f" {form} ").lower() == f" {HIDDEN} "


@given(st.text("abcdef0123456789", min_size=20, max_size=40), st.integers(0, 40))
def test_a_secret_that_is_cut_at_the_end_is_hidden(token: str, length: int) -> None:
    shown = Masking(with_token(token)).hide_cut(f"echo: {token[:length]}")
    if length < SHORTEST_PART:
        assert shown == f"echo: {token[:length]}"
    else:
        assert shown == f"echo: {HIDDEN}"


def test_without_secrets_everything_is_shown() -> None:
    receiver = CloudEventsReceiver(name="events", url="https://a.example/")
    assert Masking(receiver).hide("a b") == Masking(receiver).hide_cut("a b") == "a b"
