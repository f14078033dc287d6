"""The language of templates: what it shows, what it refuses, and that it comes to an end."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.transitions import TransitionType
from streams.receivers import templates
from streams.receivers.samples import samples
from streams.receivers.templates import CUT, LONGEST_VALUE, MOST_STEPS, Template, TemplateError
from streams.receivers.texts import Texts, values_of
from tests.support.kinds import HOSTILE
from tests.support.transitions import explained

VALUES = {
    "name": "spring",
    "none": None,
    "number": 1234.5,
    "labels": {"items": "x", "team": "crm", "on-call": "ana"},
    "list": [1, 2, 3],
    "counts": {f"S{number}": number for number in range(50)},
    "long": "é" * 4_000,
}


def rendered(source: str, most: int = 1_000, escape: Callable[[str], str] = str) -> str:
    return Template(source).render(VALUES, most, escape)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ name }} and {{ labels.team }}", "spring and crm"),
        ("{{ labels['on-call'] }} {{ labels.items }}", "ana x"),
        ("{{ none }}|{{ none.x|default('-') }}|{{ labels.x|default('-') }}", "|-|-"),
        ("{{ 0.123456|percent }} {{ 0.5|percent(0) }} {{ number|thousands }}", "12.3% 50% 1,234.5"),
        ("{{ (number / 2)|round(1) }} {{ 2 + 3 * 4 - -1 }} {{ 7 // 2 }}", "617.2 15 3"),
        ("{% if none %}a{% elif labels.team == 'crm' %}b{% else %}c{% endif %}", "b"),
        ("{{ 'yes' if labels.team in ['crm', 'shop'] and not none else 'no' }}", "yes"),
        ("{% for n in list if n > 1 %}{{ loop.index }}:{{ n }} {% endfor %}", "1:2 2:3"),
        (
            "{% for k, v in labels|items %}{{ k }}={{ v }};{% endfor %}",
            "items=x;team=crm;on-call=ana;",
        ),
        (
            "{{ name|upper ~ '-' ~ list|join('+') }} {{ name[:3] }} {{ list[-1] }}",
            "SPRING-1+2+3 spr 3",
        ),
        (
            "{{ name|replace('s', 'S') }} {{ labels|length }} {{ labels.x is defined }}",
            "Spring 3 False",
        ),
        ("{{ 'a b&c'|urlencode }} {{ ' x '|trim }}{# a comment #}", "a%20b%26c x"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("a\n{% if name %}\nb\n{% endif %}\nc\n", "a\nb\nc"),
    ],
)
def test_what_templates_can_say(source: str, text: str) -> None:
    assert rendered(source) == text


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{% include '/etc/passwd' %}", "line 1: include is not possible in a template"),
        ("{% import 'os' as os %}", "import is not possible"),
        ("{% extends 'x' %}", "extends is not possible"),
        ("{{ range(1000000000) }}", "call is not possible"),
        ("{{ name.upper() }}", "call is not possible"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "call is not possible"),
        ("{% set x = 1 %}", "assign is not possible"),
        ("{% macro a() %}{{ a() }}{% endmacro %}", "macro is not possible"),
        ("{% for x in list recursive %}{% endfor %}", "a loop cannot be recursive"),
        ("{{ 9 ** 9 ** 9 }}", "pow is not possible"),
        ("{{ '%1000000000d' % 1 }}", "mod is not possible"),
        ("{{ name|map('upper') }}", "there is no filter map"),
        ("{{ name|uper }}", "there is no filter uper, did you mean upper?"),
        ("{{ name is callable }}", "there is no test callable, only defined, none, undefined"),
        ("{{ _budget }}", "_budget is not possible as a name"),
        ("{{ self }}", "self is not possible as a name"),
        ("\n{{ name", "line 2: unexpected end of template"),
        ("{% if name %}", "line 1: Unexpected end of template"),
        ("{{ " + "-" * 100 + "1 }}", "it is nested more than 40 deep"),
        ("{{ " + "[" * 1000 + "]" * 1000 + " }}", "it is nested too deep"),
        ("{% for a in list %}" * 25 + "{% endfor %}" * 25, "it is nested too deep"),
        ("x" * 4_097, "expected at most 4096 characters"),
    ],
)
def test_what_is_no_template_is_refused(source: str, why: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(why)):
        Template(source)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ numbre }}", "'numbre' is undefined, did you mean number?"),
        ("{{ labels.teem }}", "there is no 'teem', did you mean team?"),
        ("{{ none.slice.share }}", "there is no 'slice', as what it is asked of is null for some"),
        ("{{ name.__class__ }}", "there is no '__class__'"),
        ("{{ name.upper }}", "there is no 'upper'"),
        ("{{ labels.get }}", "there is no 'get'"),
        ("{{ list.append }}", "there is no 'append'"),
        ("{{ list[7] }}", "there is no '7'"),
        ("{% for x in list %}{{ loop.cycle }}{% endfor %}", "there is no 'cycle'"),
        ("{{ cycler }}", "'cycler' is undefined"),
        ("{{ labels }}", "a list or mapping cannot be shown"),
        ("{% for x in list %}{{ loop }}{% endfor %}", "a list or mapping cannot be shown"),
        ("{% for x in name %}{% endfor %}", "a loop is for lists and mappings"),
        ("{% for x in nane %}{% endfor %}", "'nane' is undefined"),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ name * 1000000 }}", "* is for numbers; ~ joins texts"),
        ("{{ list * 1000000 }}", "* is for numbers"),
        ("{{ 1 + nane }}", "'nane' is undefined"),
        ("{{ name|percent }}", "ValueError"),
        ("{{ name|replace('', 'x') }}", "replace needs a text to look for"),
        ("{{ 1 < name }}", "TypeError"),
    ],
)
def test_what_goes_wrong_with_an_alert_is_said(source: str, why: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(why)):
        rendered(source)


LOOPS = "{% for a in counts %}{% for b in counts %}{% for c in counts %}"
END = "{% endfor %}" * 3


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (LOOPS + END, "it takes more than"),
        (LOOPS + "{% if long|urlencode %}{% endif %}" + END, "it takes more than"),
        (LOOPS + "{{ none }}" * 300 + END, "it takes more than"),
        (LOOPS + "{% if long ~ long ~ long %}{% endif %}" + END, "it takes more than"),
        ("{{ 'a'" + "|replace('a', 'aaaaaaaaaa')" * 20 + " }}", "makes more than 65,536"),
        ("{{ " + " ~ ".join(["long"] * 100) + " }}", "makes more than 65,536"),
        ("{{ " + " ~ ".join(["long|urlencode"] * 100) + " }}", "it takes more than"),
        ("{{ [long, long, long]|join(long) }}{{ counts|join(long) }}", "makes more than 65,536"),
    ],
)
def test_what_would_take_long_or_grow_is_broken_off(source: str, why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        rendered(source)


def test_every_turn_of_a_loop_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Six nodes in the loop: For, its target, what it goes through, Output, Name and the 'x'.
    source = "{% for n in list %}{{ n }}x{% endfor %}"
    monkeypatch.setattr(templates, "MOST_STEPS", 18)
    assert rendered(source) == "1x2x3x"
    monkeypatch.setattr(templates, "MOST_STEPS", 17)
    with pytest.raises(TemplateError, match="it takes more than 17 steps"):
        rendered(source)
    assert MOST_STEPS > 1_000


def test_what_a_filter_reads_is_counted_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MOST_STEPS", 300)
    assert rendered("{{ long|length }}") == "4000"
    with pytest.raises(TemplateError, match="it takes more than 300 steps"):
        rendered("{{ long|length }}{{ long|length }}")


def escaped(text: str) -> str:
    return text.replace("<", "&lt;")


def test_a_long_text_is_cut_and_not_within_a_value() -> None:
    assert rendered("{{ '\U0001f600' }}" * 3, 5) == f"\U0001f600\U0001f600{CUT}"
    assert rendered("a{{ name }}", 3) == f"as{CUT}"
    assert rendered("a{{ name }}", 3, escaped) == f"a{CUT}"
    assert rendered("{{ name }}", 1) == CUT
    assert rendered("{% for n in counts %}{{ n }} {% endfor %}", 10) == f"S0 S1 S2{CUT}"
    assert rendered("{{ '<<' }}<{{ '<<' }}", 14, escaped) == f"&lt;&lt;<{CUT}"
    assert rendered("{{ '<<' }}<{{ '<<' }}", 17, escaped) == "&lt;&lt;<&lt;&lt;"


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_escaped_and_short_and_print_nothing_else(name: str) -> None:
    source = "<b>{{ name }}</b>{% if name %}{{ name ~ '' }}{{ name|upper }}{% endif %}"
    shown = Template(source).render({"name": name}, 10_000, escaped)
    assert shown.isprintable()
    assert shown.replace("<b>", "").replace("</b>", "").count("<") == 0
    assert len(Template("{{ name }}").render({"name": name}, 10_000)) <= LONGEST_VALUE


@given(
    st.text(max_size=200),
    st.integers(1, 300),
)
def test_any_value_comes_to_a_text_of_the_length(name: str, most: int) -> None:
    text = Template("a {{ name }} b {{ name }}").render({"name": name}, most)
    assert len(text) <= most
    assert text.isprintable()


fragments = st.sampled_from(
    [
        *("{{ ", " }}", "{% ", " %}", "for x in ", "endfor", "if ", "else", "endif", "campaign_id"),
        *(
            "labels",
            "evidence.counts",
            "|items",
            "|upper",
            "|join",
            " ~ ",
            " * ",
            "(",
            ")",
            "[",
            "]",
        ),
        *("'", "1", "x", ".", "__class__", " in ", "explanation", "loop", "set x = ", "{#", "#}"),
        *("{{ summary }}", "{% for x in labels %}", "{% endfor %}", "{{ x }}", "-", "\n", "\x00"),
    ]
)


@settings(max_examples=300)
@given(st.lists(fragments, max_size=12).map("".join))
def test_whatever_is_written_it_is_a_text_or_an_error_of_ours(source: str) -> None:
    transition = explained(name="x")
    values = values_of(transition, Texts("t", "s"))
    # Nothing else is raised.
    with suppress(TemplateError):
        assert len(Template(source).render(values, 500)) <= 500


def test_samples_have_every_type_with_and_without_what_an_alert_may_lack() -> None:
    made = list(samples("fails", "info", {"team": "crm"}, "channel"))
    assert {each.type for each in made} == set(get_args(TransitionType))
    assert {each.data.ends_at is None for each in made if each.type.endswith("resolved")} == {False}
    for name in ("explanation", "links", "app_id"):
        assert {getattr(each.data, name) is None for each in made} == {True, False}
    assert {each.data.channel_type for each in made} == {"GCM"}
    assert all(each.data.labels == {"team": "crm"} for each in made)
