"""What looks like an address is left out of texts."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.redaction import REDACTED, redacted, without_emails

_WORDS = st.text(st.sampled_from("abcXYZ é.,;:'()<>-"), max_size=20)
_LOCAL = st.from_regex(r"[a-z0-9._+-]{1,20}", fullmatch=True)
_EMAILS = st.builds("{}@{}.example".format, _LOCAL, st.sampled_from(("mail", "a.b", "bücher")))
_SEPARATORS = st.sampled_from(("", " ", "-", ".", "/", ") ", " ("))
_PHONES = st.builds(
    lambda digits, between: "+" + between.join(digits),
    st.lists(st.from_regex(r"[1-9][0-9]{1,3}", fullmatch=True), min_size=4, max_size=5),
    _SEPARATORS,
)
_TOKENS = st.one_of(
    st.binary(min_size=16, max_size=90).map(bytes.hex),
    st.binary(min_size=32, max_size=90).map(lambda raw: base64.b64encode(raw).decode()),
    st.binary(min_size=32, max_size=90).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
    st.uuids().map(str),
    st.ip_addresses(v=6).map(str).filter(lambda address: len(address) > 6),
)


@given(before=_WORDS, secret=st.one_of(_EMAILS, _PHONES), after=_WORDS)
def test_addresses_are_left_out_of_any_text(before: str, secret: str, after: str) -> None:
    cleaned = redacted(f"{before}{secret}{after}")
    assert secret not in cleaned
    assert REDACTED in cleaned


@given(before=_WORDS, secret=_TOKENS, after=_WORDS)
def test_tokens_are_left_out_of_any_text(before: str, secret: str, after: str) -> None:
    assert secret not in redacted(f"{before} {secret} {after}")


@given(text=st.text())
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once
    assert "@" not in once


@pytest.mark.parametrize(
    "text",
    [
        "MessageRateExceededException",
        "HTTP 429: too many requests, retry in 30 s",
        "InvalidProviderToken",
        "Lambda timed out after 3000 ms",
        "ARN is not of eu-west-1",
    ],
)
def test_reasons_stay_readable(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("550 <jane.doe@example.com> unknown", "550 [redacted] unknown"),
        ("jane%40example.com bounced", "[redacted] bounced"),
        ("call +1 (555) 010-9999 now", "call [redacted] now"),
        ("from 203.0.113.77", "from [redacted]"),
        ("from 2001:db8::7:1", "from [redacted]"),
        ("endpoint 4f8d6097c2e8400f", "endpoint [redacted]"),
        ("device APA91bHun4MxP5egoKMwt2KZFBaFUH", "device [redacted]"),
    ],
)
def test_examples(text: str, cleaned: str) -> None:
    assert redacted(text) == cleaned


def test_an_id_stays_but_for_an_email_in_it() -> None:
    assert without_emails("4f8d6097c2e8400fa3081d875") == "4f8d6097c2e8400fa3081d875"
    assert without_emails("for jane@example.com") == "for [redacted]"


@pytest.mark.parametrize(
    "text", ["a" * 4_096, "1 " * 2_048, ":" * 4_096, "1-" * 2_048, "f:" * 2_048]
)
def test_no_text_takes_long(text: str) -> None:
    began = time.thread_time()
    redacted(text)
    assert time.thread_time() - began < 1.0
