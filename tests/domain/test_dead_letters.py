"""Dead letters are shown without what they hold of a person, whatever their bytes are."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.dead_letters import SHOWN, known_reason, masked, shown_detail

EVENT = {
    "event_type": "_campaign.send",
    "event_timestamp": 1_795_428_000_000,
    "attributes": {"campaign_id": "4f8d6097aabb", "campaign_send_status": "SUCCESS"},
    "endpoint": {"Address": "anna@example.org", "User": {"Name": "Anna Müller"}},
    "phone": 491_701_234_567,
}


def test_the_form_and_the_campaign_are_shown_and_nothing_of_a_person() -> None:
    shown = masked(json.dumps(EVENT, ensure_ascii=False).encode())
    assert shown.startswith('{"event_type": "_campaign.send", "event_timestamp": 1795428000000')
    assert '"campaign_id": "4f8d6097aabb"' in shown
    assert '"Address": "xxxx@xxxxxxx.xxx"' in shown
    assert len(shown) == SHOWN
    for word in ("anna", "example", "Anna", "ller", "49170"):
        assert word not in shown


def test_what_is_in_the_wrong_place_is_masked() -> None:
    for value, shown in (
        (b'{"campaign_id": ["anna"]}', '{"campaign_id": ["xxxx"]}'),
        (b'{"campaign_id": "anna@x.y"}', '{"campaign_id": "xxxx@x.x"}'),
        (b'{"campaign_id": "491701234567"}', '{"campaign_id": "999999999999"}'),
        (b'{"event_timestamp": 4917012345678}', '{"event_timestamp": 9999999999999}'),
        (b'{"event_timestamp": 1795428000000', '{"event_timestamp": 9999999999999'),
        (b'{"campaign_id": "anna', '{"campaign_id": "xxxx'),
        (b'{"campaign_id" "anna"}', '{"xxxxxxxx_xx" "xxxx"}'),
        (b"name,phone\nAnna,+49 170 1", "xxxx,xxxxx\\nxxxx,+99 999 9"),
        (b"\x00\xff\x1b[2J", "\\x00\\xxx\\x1b[9x"),
        (b'"event_type"', '"xxxxx_xxxx"'),
        (b"", ""),
    ):
        assert masked(value) == shown


@given(st.binary(max_size=800))
def test_any_bytes_are_printable_and_short(value: bytes) -> None:
    shown = masked(value)
    assert len(shown) <= SHOWN
    assert shown.isprintable()


@given(
    st.text(alphabet="abcdefghijklmnopqrstuvwyz@.ÄÖ日", min_size=3, max_size=30),
    st.sampled_from(["Address", "name", "custom", "campaign_id_", "Campaign_id", "title"]),
)
def test_the_text_of_other_fields_is_never_shown(text: str, field: str) -> None:
    shown = masked(json.dumps({field: text}, ensure_ascii=False).encode())
    _, _, value = shown.partition(": ")
    assert re.fullmatch(r'"[x@.]*"\}', value)


def test_reasons_and_details_of_others_are_not_taken_at_their_word() -> None:
    assert known_reason("not-json") == "not-json"
    assert known_reason("anna@example.org") == "unknown"
    assert shown_detail("attributes.x is a JSON number") == "attributes.x is a JSON number"
    assert "anna" not in shown_detail("cannot send to anna@example.org")
