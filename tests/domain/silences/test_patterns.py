"""Regular expressions: against Python's own, which understands these alike, and what is refused."""

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.domain.silences.patterns import (
    LONGEST_PATTERN,
    MOST_LITERALS,
    MOST_MOVES,
    MOST_POSITIONS,
    Pattern,
    PatternError,
)

ATOMS = ("a", "b", "Z", "0", "-", "ä", r"\.", ".", r"\d", r"\W", "[ab]", "[^a0]", r"[a\d-]", "[]b]")
SUFFIXES = ("", "*", "+", "?", "*?", "{2}", "{0,2}", "{1,}", "{0}")


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.builds("({}){}".format, inner, st.sampled_from(SUFFIXES))
    grouped = st.builds("(?:{})".format, inner)
    joined = st.builds("{}{}".format, inner, inner)
    return repeated | grouped | joined | st.builds("{}|{}".format, inner, inner)


PATTERNS = st.recursive(
    st.builds("{}{}".format, st.sampled_from(ATOMS), st.sampled_from(SUFFIXES)) | st.just(""),
    grow,
    max_leaves=5,
)
IDS = [f"4f8d1c2e-{number:04}" for number in range(MOST_LITERALS)]
TEXTS = st.text("abZ0-ä.\n ", max_size=8)


@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=6))
@example("(a|)(b|){2}", ["", "abb", "bb", "b"])
@example("((a*)*b?)*", ["aabab", "aac"])
def test_as_python_understands_it(text: str, values: list[str]) -> None:
    pattern, python = Pattern(text), re.compile(text, re.ASCII)
    for value in values:
        assert pattern.matches(value) == (python.fullmatch(value) is not None)


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("spring-.*", ["spring-", "spring-2"], ["xspring-2", "spring", "spring-\n"]),
        ("^a|b$", ["a", "b"], ["ab"]),
        ("(^a|b)c$", ["ac", "bc"], ["c"]),
        ("(?i)Spring[a-f]", ["sPRINGd", "springD"], ["springg"]),
        ("(?i)[^a]", ["b"], ["a", "A"]),
        ("x{,5}", ["x{,5}"], ["x"]),
        ("a{", ["a{"], ["a"]),
        (r"\d\w", ["1a"], ["\u0661a", "1ä"]),
        (r"a\*\tb", ["a*\tb"], ["aaab"]),
        (r"[\]\D]+", ["]ab"], ["]1"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("a{0}b", ["b"], ["ab"]),
    ],
)
def test_examples(text: str, matching: list[str], others: list[str]) -> None:
    pattern = Pattern(text)
    assert [value for value in matching if not pattern.matches(value)] == []
    assert [value for value in others if pattern.matches(value)] == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("(a", r"a \( without \) at character 1"),
        ("a)", r"a \) without \( at character 2"),
        ("[a", r"a \[ without \] at character 1"),
        ("[a-", r"a \[ without \] at character 1"),
        ("[z-a]", "a range from high to low"),
        ("*a", r"a \* with nothing before it at character 1"),
        ("{2}a", r"a { with nothing before it"),
        ("a**", "repeats a repetition at character 3"),
        ("a*{2}", "repeats a repetition"),
        ("a{2,1}", "n ≤ m ≤ 1000"),
        ("a{1001}", "n ≤ m ≤ 1000"),
        ("a$b", r"has \$ at character 2: .* at the end"),
        ("a^", r"has \^ at character 2: .* at the beginning"),
        ("(a$)*", r"has \$ at character 3"),
        ("(a$)b", r"has \$ at character 3"),
        (r"\bword", r"has \\b at character 1: expected one of"),
        (r"(a)\1", r"has \\1 at character 4"),
        ("a\\", r"has \\ at character 2"),
        (r"\pL", r"has \\p"),
        ("(?=a)", "a kind of group that is not possible at character 1"),
        ("(?P<n>a)", "a kind of group"),
        ("a(?i)b", "a kind of group"),
        ("[[:alpha:]]", r"has \[: in a class"),
        ("(" * 51 + ")" * 51, "too many groups within groups"),
        ("(a{100}){100}", f"up to 10000 characters.* at most {MOST_POSITIONS}"),
        ("((){1000}){1000}", f"up to 1000000 characters.* at most {MOST_POSITIONS}"),
        ("a" * (LONGEST_PATTERN + 1), f"at most {LONGEST_PATTERN}"),
    ],
)
def test_what_is_refused_is_named(text: str, named: str) -> None:
    with pytest.raises(PatternError, match=named):
        Pattern(text)


@given(st.text("ab(){}[]^$|*+?.,-\\d1:i", max_size=30))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    with contextlib.suppress(PatternError):
        Pattern(text).matches("ab1")


@pytest.mark.parametrize("text", ["(a+)+b", "(a|a)*b", "(a|aa)+", "(.*a){20}", "(a?){80}a{80}"])
def test_what_would_be_exponential_elsewhere(text: str) -> None:
    """It would not end before the test is stopped."""
    assert not Pattern(text).matches("a" * 5_000 + "c")


def test_moves_are_kept_up_to_a_number_and_the_same_after_that() -> None:
    pattern, python = Pattern("(a|b)*a(a|b){9}"), re.compile("(a|b)*a(a|b){9}")
    texts = ["".join("ab"[number >> bit & 1] for bit in range(12)) for number in range(4096)]
    for number, text in enumerate(texts):
        assert pattern.matches(text) == (python.fullmatch(text) is not None)
        if number % 256 == 0:
            assert sum(len(reached.moves) for reached in pattern._known.values()) <= MOST_MOVES


@pytest.mark.parametrize(
    ("text", "literals"),
    [
        ("spring|autumn", {"spring", "autumn"}),
        ("^c-(1|2)$", {"c-1", "c-2"}),
        ("", {""}),
        ("a+", None),
        ("(?i)a", None),
        ("[ab]", None),
        ("|".join(IDS), set(IDS)),
        ("([0-4]|x)(y|z)", None),
        ("(a|b)(c|d)" * 4, None),
    ],
)
def test_texts_that_are_listed(text: str, literals: set[str] | None) -> None:
    found = Pattern(text).literals
    assert (found and set(found)) == literals
