"""Forms of answers: CSV, NDJSON, tags and gzip, over a real server."""

import csv
import gzip
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.api import representations
from streams.api.problems import ProblemError
from streams.api.representations import JSON, LIST_FORMS, choose, has_tag, takes_gzip
from streams.api.routes import ROUTES
from streams.api.tabular import CSV, NDJSON, csv_lines
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.api.test_cluster import fill, two_workers
from tests.api.test_groups import BY_CAUSE, view_of
from tests.support.dead_letters import sample
from tests.support.http import HttpAnswer
from tests.support.partitions import PARTITION_SETTINGS, MemoryHolder, counts, holder
from tests.support.silences import silence_of

T0 = int(NOW) - 60
LISTS = {route.path: route.rows for route in ROUTES if route.rows is not None}


def held() -> MemoryHolder:
    made = holder(numbers=[0, 1, 2, 3])
    made.add("a/b", T0, counts({"SUCCESS": 60, "FAILURE": 40}, "0"))
    made.add("a/b", T0, counts({"SUCCESS": 9}, None))
    made.add('=cmd("x"),\r\n', T0, counts({"=1+1": 3}))
    for partition in made.here.values():
        partition.evaluate(NOW)
    return made


async def asked(api: RunningApi, target: str, accept: str, **options: Any) -> HttpAnswer:
    headers = {"Accept": accept, **options.pop("headers", {})}
    return await api.ask(target, headers=headers, **options)


def rows_of(answer: HttpAnswer) -> list[dict[str, str]]:
    text = answer.body.decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("path", sorted(LISTS))
async def test_every_list_has_rows(start: StartApi, path: str) -> None:
    settings = replace(PARTITION_SETTINGS, group_view=view_of(BY_CAUSE))
    api = await start(held(), settings=settings)
    api.silences.book.put(silence_of("known", "rule=a", now=NOW))
    api.dead_letters.found = [sample()]
    target = path.replace("{campaign_id}", "a%2Fb")
    items = (await api.get(target))[LISTS[path].name]
    assert items
    lines = (await asked(api, target, NDJSON)).body.splitlines()
    assert [json.loads(line) for line in lines] == items
    answer = await asked(api, target, CSV)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert len(rows_of(answer)) == len(items)


async def test_every_list_of_the_api_is_one(start: StartApi) -> None:
    described = await (await start(holder())).get("/openapi.json")
    for path, methods in described["paths"].items():
        if "get" not in methods:
            continue
        content = methods["get"]["responses"]["200"]["content"]
        schema = content.get(JSON, {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        fields = described["components"]["schemas"].get(schema, {}).get("properties", {})
        if "next_cursor" in fields:
            assert {CSV, NDJSON} <= content.keys(), path


async def test_cells_of_csv(start: StartApi) -> None:
    api = await start(held())
    found = {row["campaign_id"]: row for row in rows_of(await asked(api, "/v1/campaigns", CSV))}
    row = found["a/b"]
    assert (row["attempts"], row["rates.failure"][:5]) == ("109", "0.366")
    assert json.loads(row["counts"]) == {"SUCCESS": 69, "FAILURE": 40}
    assert '\'=cmd("x"),\r\n' in found, "a formula becomes a text"
    windows = "/v1/campaigns/a%2Fb/windows?by=treatment_id"
    parts = rows_of(await asked(api, windows, CSV))
    by_treatment = {each["treatment_id"]: each["attempts"] for each in parts}
    assert by_treatment == {"0": "100", "": "9"}
    assert {each["start"] for each in parts} == {"2026-11-23T09:59:00Z"}


async def test_an_empty_list_has_its_columns(start: StartApi) -> None:
    api = await start(holder())
    answer = await asked(api, "/v1/alerts", CSV)
    assert answer.body.decode().startswith("alert_id,sequence,rule,severity,campaign_id")
    assert rows_of(answer) == []
    assert (await asked(api, "/v1/alerts", NDJSON)).body == b""


async def test_pages_of_rows_are_linked(start: StartApi) -> None:
    api = await start(held())
    target, seen = "/v1/campaigns?limit=1&sort=-attempts", []
    for _ in range(2):
        answer = await asked(api, target, CSV)
        seen += [row["campaign_id"] for row in rows_of(answer)]
        link = re.fullmatch(r'<(\S+)>; rel="next"', answer.headers.get("Link", ""))
        target = link[1] if link else ""
    assert seen == ["a/b", '\'=cmd("x"),\r\n']
    assert target == ""


async def test_rows_say_what_is_missing(start: StartApi) -> None:
    api = await start(holder(numbers=[0, 2], count=4))
    assert (await asked(api, "/v1/alerts", CSV)).headers["Missing-Partitions"] == "1, 3"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html, */*;q=0.8", JSON),
        ("text/*", CSV),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("application/json;q=0, */*", CSV),
        ("application/*, application/json;q=0.1", NDJSON),
        ("text/csv; header=present", CSV),
        ("text/html", None),
        ("application/json;q=0", None),
        ("text/csv;q=nan", None),
    ],
)
def test_accept(accept: str, form: str | None) -> None:
    if form is not None:
        assert choose(accept, LIST_FORMS) == form
        return
    with pytest.raises(ProblemError) as caught:
        choose(accept, LIST_FORMS)
    assert caught.value.status == 406


async def test_a_form_that_there_is_not(start: StartApi) -> None:
    api = await start(held())
    detail = await api.refused("/v1/campaigns/a%2Fb", 406, headers={"Accept": "text/csv"})
    assert detail == "Accept: text/csv: this is answered as application/json"
    refused = {"Accept": "image/png"}
    assert "text/csv" in await api.refused("/v1/campaigns", 406, headers=refused)
    await api.refused("/v1/silences", 406, headers=refused, method="POST", body=b"{}")
    assert not list(api.silences.book.silences()), "nothing is done that cannot be answered"


async def test_what_a_client_has_is_not_sent_again(start: StartApi) -> None:
    clock = [NOW]
    made = held()
    api = await start(made, now=lambda: clock[0])
    windows = "/v1/campaigns/a%2Fb/windows"
    for target in ("/v1/campaigns?limit=1", windows, "/v1/rules", "/", "/docs"):
        first = await api.ask(target)
        assert first.headers["Cache-Control"] in {"private, no-cache", "no-cache"}
        clock[0] += 1
        tag = {"If-None-Match": f'"other", {first.headers["Etag"]}'}
        again = await api.ask(target, headers=tag)
        assert (again.status, again.body) == (304, b""), target
        assert again.headers["Etag"] == first.headers["Etag"]
        assert (await api.ask(target, headers=tag, method="HEAD")).status == 304
    first = await api.ask(windows)
    made.add("a/b", T0, counts({"SUCCESS": 1}, "0"))
    tag = {"If-None-Match": first.headers["Etag"]}
    assert (await api.ask(windows, headers=tag)).status == 200
    rows = await asked(api, "/v1/rules", CSV)
    tag = {"If-None-Match": rows.headers["Etag"]}
    assert (await api.ask("/v1/rules", headers=tag)).status == 200, "another form is another answer"
    assert "Etag" not in (await api.ask("/metrics")).headers


async def test_large_answers_are_compressed(start: StartApi) -> None:
    made = holder()
    for number in range(1_500):
        made.add(f"campaign-{number}", T0, counts({"SUCCESS": number}))
    api = await start(made)
    packed = {"Accept-Encoding": "br, gzip;q=0.5"}
    for target in ("/v1/campaigns?limit=1000", "/v1/campaigns?limit=100"):
        for accept in LIST_FORMS:
            plain = await asked(api, target, accept)
            answer = await asked(api, target, accept, headers=packed)
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Content-Length"] == str(len(answer.body))
            assert answer.headers["Vary"] == "Accept, Accept-Encoding"
            assert len(answer.body) < len(plain.body) / 4
            got, meant = gzip.decompress(answer.body), plain.body
            assert (got == meant) or accept == JSON
            assert answer.headers["Etag"] == plain.headers["Etag"]
            head = await asked(api, target, accept, headers=packed, method="HEAD")
            assert head.body == b""
            assert head.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in (await api.ask("/v1/rules", headers=packed)).headers


async def test_no_more_is_compressed_at_once_than_a_worker_bears(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(representations, "_MOST_AT_ONCE", 0)
    api = await start(holder())
    answer = await api.ask("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert json.loads(answer.body)


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("*", True),
        ("GZIP;q=0.001", True),
        ("", False),
        ("gzip;q=0, *", False),
        ("deflate, br", False),
    ],
)
def test_accept_encoding(header: str, *, takes: bool) -> None:
    assert takes_gzip(header) is takes


def test_tags() -> None:
    assert has_tag("*", 'W/"a"')
    assert has_tag('"b", "a"', 'W/"a"')
    assert not has_tag("", 'W/"a"')
    assert not has_tag('W/"ab"', 'W/"a"')


async def test_rows_of_several_workers(start: StartApi) -> None:
    one, two = await two_workers(start)
    fill(one.holder, two.holder)
    found = rows_of(await asked(one, "/v1/campaigns", CSV))
    assert len(found) == 16
    assert found == rows_of(await asked(two, "/v1/campaigns", CSV))


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
def test_any_text_is_read_back_and_is_no_formula(texts: list[str]) -> None:
    names = [f"c{at}" for at in range(len(texts))]
    written = "".join(csv_lines(names, [dict(zip(names, texts, strict=True))]))
    title, cells = csv.reader(io.StringIO(written, newline=""), strict=True)
    assert title == names
    for cell, text in zip(cells, texts, strict=True):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.removeprefix("'") == text


def test_null_is_no_text() -> None:
    assert list(csv_lines(["a", "b", "c.d"], [{"a": None, "b": "", "c": None}]))[1] == ',"",\r\n'
    assert list(csv_lines(["a", "b"], [{"a": -1.5, "b": True}]))[1] == "-1.5,true\r\n"
