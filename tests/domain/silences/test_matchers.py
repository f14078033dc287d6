import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain import alert_labels
from streams.domain.silences.matchers import (
    LONGEST_VALUE,
    CompiledMatcher,
    Matcher,
    MatcherError,
    labels_of,
    parse,
)
from tests.support.transitions import firing


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("rule=failing", Matcher("rule", "=", "failing")),
        (' campaign_id != "a b" ', Matcher("campaign_id", "!=", "a b")),
        ("campaign_id=~spring-.*", Matcher("campaign_id", "=~", "spring-.*")),
        ('app_id!~"a|b"', Matcher("app_id", "!~", "a|b")),
        ("treatment_id=", Matcher("treatment_id", "=", "")),
        (r'x="a\"b\\c\nd\."', Matcher("x", "=", 'a"b\\c\nd\\.')),
        ("größe==~", Matcher("größe", "=", "=~")),
    ],
)
def test_a_matcher_as_people_write_it(text: str, matcher: Matcher) -> None:
    assert parse(text) == matcher


@pytest.mark.parametrize(
    "text", ["", "rule", "=a", "rule~a", 'rule="a', 'rule="a"b"', 'rule="', r'rule="a\"', "a b=c"]
)
def test_what_is_no_matcher_is_named(text: str) -> None:
    with pytest.raises(MatcherError) as raised:
        parse(text)
    assert repr(text) in str(raised.value)


@given(st.text('ab"\\\n =~é', max_size=20), st.sampled_from(["=", "!="]))
def test_a_matcher_is_read_as_it_is_shown(value: str, operator: str) -> None:
    matcher = Matcher("rule", "=" if operator == "=" else "!=", value)
    assert parse(str(matcher)) == matcher


@pytest.mark.parametrize(
    ("text", "matching", "other"),
    [
        ("x=a", "a", ""),
        ("x!=a", "", "a"),
        ("x=~a.*", "ab", "ba"),
        ("x!~a.*", "ba", "ab"),
        ("x=", "", "a"),
        ("x!=", "a", ""),
        ("x!~.+", "", "a"),
    ],
)
def test_a_label_that_is_missing_is_the_empty_text(text: str, matching: str, other: str) -> None:
    compiled = CompiledMatcher(parse(text))
    assert compiled.matches(matching)
    assert not compiled.matches(other)


@pytest.mark.parametrize(
    ("matcher", "named"),
    [
        (Matcher("", "=", "a"), "1 to 200"),
        (Matcher("x" * 201, "=", "a"), "201 characters: expected 1 to 200"),
        (Matcher("x", "=", "a" * (LONGEST_VALUE + 1)), f"at most {LONGEST_VALUE}"),
        (Matcher("x", "=~", "("), r"the pattern '\(' has a \( without \)"),
    ],
)
def test_what_is_refused_is_named(matcher: Matcher, named: str) -> None:
    with pytest.raises(MatcherError, match=named):
        CompiledMatcher(matcher)


def test_the_labels_of_an_alert() -> None:
    transition = firing(rule="failing")
    transition.data.labels = {"team": "crm", "rule": "another"}
    assert alert_labels.of_data(transition.data) == {
        "team": "crm",
        "rule": "failing",
        "severity": "critical",
        "campaign_id": "c",
        "app_id": "app",
        "treatment_id": "",
        "channel_type": "",
    }
    labels = labels_of(
        {},
        rule="r",
        severity="s",
        campaign_id="c",
        app_id=None,
        treatment_id="0",
        channel_type="GCM",
    )
    assert (labels["app_id"], labels["treatment_id"], labels["channel_type"]) == ("", "0", "GCM")
