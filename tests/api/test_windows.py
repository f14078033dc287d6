"""Windows over a real socket: figures, ranges, steps, groups, odd campaign ids."""

from collections import Counter
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.conftest import NOW, StartApi, running
from tests.support.partitions import STATUS_GROUPS, counts, holder, partition_settings

T0 = int(NOW) - 3600  # 2026-11-23T09:00:00Z


async def test_the_shape_is_the_contract_s(start: StartApi) -> None:
    held = holder()
    held.add(
        "c",
        T0,
        counts({"SUCCESS": 950, "FAILURE": 30, "THROTTLED": 20, "QUIET_TIME": 7}, "0"),
        counts({"opened_notification": 5}, "0"),
    )
    api = await start(held)
    assert await api.get("/v1/campaigns/c/windows?by=treatment_id") == {
        "campaign_id": "c",
        "window_seconds": 60,
        "as_of": "2026-11-23T10:00:00Z",
        "partial": False,
        "missing_partitions": [],
        "windows": [
            {
                "start": "2026-11-23T09:00:00Z",
                "end": "2026-11-23T09:01:00Z",
                "state": "open",
                "counts": {"SUCCESS": 950, "FAILURE": 30, "THROTTLED": 20, "QUIET_TIME": 7},
                "attempts": 1000,
                "rates": {"failure": 0.03, "throttled": 0.02},
                "late_events": 0,
                "engagement": {"opened_notification": 5},
                "groups": [
                    {
                        "treatment_id": "0",
                        "counts": {"SUCCESS": 950, "FAILURE": 30, "THROTTLED": 20, "QUIET_TIME": 7},
                        "attempts": 1000,
                        "rates": {"failure": 0.03, "throttled": 0.02},
                        "engagement": {"opened_notification": 5},
                    }
                ],
            }
        ],
    }


async def test_attempts_in_no_group_are_told(start: StartApi) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 6, "Success": 3, "failed": 1}, "0"))
    held.add("known", T0, counts({"SUCCESS": 6}))
    api = await start(held)
    (window,) = (await api.get("/v1/campaigns/c/windows?by=treatment_id"))["windows"]
    assert (window["attempts"], window["unrecognised"]) == (10, 4)
    assert window["groups"][0]["unrecognised"] == 4
    rows = (await api.get("/v1/campaigns?active_within=100h"))["campaigns"]
    assert {row["campaign_id"]: row.get("unrecognised") for row in rows} == {"c": 4, "known": None}


async def test_without_attempts_rates_are_null(start: StartApi) -> None:
    held = holder()
    held.add("c", T0, counts({"QUIET_TIME": 3}))
    api = await start(held)
    (window,) = (await api.get("/v1/campaigns/c/windows"))["windows"]
    assert (window["attempts"], window["rates"]) == (0, {"failure": None, "throttled": None})
    assert "groups" not in window


async def test_groups_have_null_for_what_events_lack(start: StartApi) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 1}, None, None, "SMS"))
    held.add("c", T0, counts({"SUCCESS": 2}, "1", "EMAIL", "EMAIL"))
    api = await start(held)
    (window,) = (await api.get("/v1/campaigns/c/windows?by=channel_type,treatment_id"))["windows"]
    assert [
        (group["channel_type"], group["treatment_id"], group["counts"])
        for group in window["groups"]
    ] == [("EMAIL", "1", {"SUCCESS": 2}), ("SMS", None, {"SUCCESS": 1})]
    assert "delivery_type" not in window["groups"][0]


@pytest.mark.parametrize(
    ("campaign_id", "encoded"),
    [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("ünïcode", "%C3%BCn%C3%AFcode"),
        ("100%", "100%25"),
        ("100%", "100%"),
        ("..", ".."),
        ("..", "%2E%2E"),
        (".", "."),
        (" ", "%20"),
        ("a+b", "a+b"),
        ("a?b#c&d", "a%3Fb%23c%26d"),
        ("\n", "%0A"),
        ("windows", "windows"),
        ("x" * 2000, "%78" * 2000),
        ("//", "%2F%2F"),
    ],
)
async def test_campaign_ids_are_arbitrary(start: StartApi, campaign_id: str, encoded: str) -> None:
    held = holder()
    held.add(campaign_id, T0, counts({"SUCCESS": 1}))
    held.add("another", T0, counts({"SUCCESS": 9}))
    api = await start(held)
    for rest in ("", "/windows", f"/windows/{T0 * 1000}"):
        found = await api.get(f"/v1/campaigns/{encoded}{rest}")
        assert found["campaign_id"] == campaign_id


async def test_a_path_that_is_not_utf8_is_refused(start: StartApi) -> None:
    api = await start(holder())
    assert "%ff" in await api.refused("/v1/campaigns/%ff/windows", 400)
    await api.refused("/v1/campaigns/\udcff/windows", 400)


async def test_an_unknown_campaign_is_404_and_a_quiet_one_is_empty(start: StartApi) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 1}))
    api = await start(held)
    assert "nobody" in await api.refused("/v1/campaigns/nobody/windows", 404)
    assert "empty" in await api.refused("/v1/campaigns//windows", 404)
    answer = await api.get("/v1/campaigns/c/windows?from=2026-11-23T12:00:00Z")
    assert answer["windows"] == []


@pytest.mark.parametrize(
    ("query", "minutes"),
    [
        ("from=2026-11-23T09:01:00Z&to=2026-11-23T09:03:00Z", [1, 2]),
        (f"from={(T0 + 60) * 1000}&to={(T0 + 180) * 1000}", [1, 2]),
        ("from=2026-11-23T10:01:30%2B01:00", [1, 2, 3, 4]),
        ("from=2026-11-23T10:01:30+01:00", [1, 2, 3, 4]),
        ("to=2026-11-23T09:01:00.001Z", [0, 1]),
        ("", [0, 1, 2, 3, 4]),
    ],
)
async def test_a_range_takes_the_windows_that_overlap_it(
    start: StartApi, query: str, minutes: list[int]
) -> None:
    held = holder()
    for minute in range(5):
        held.add("c", T0 + 60 * minute, counts({"SUCCESS": minute + 1}))
    api = await start(held)
    answer = await api.get(f"/v1/campaigns/c/windows?{query}")
    assert [window["counts"]["SUCCESS"] - 1 for window in answer["windows"]] == minutes


async def test_a_merged_window_is_whole_and_open_while_a_part_is(start: StartApi) -> None:
    held = holder()
    for minute in range(8):
        held.add("c", T0 + 60 * minute, counts({"SUCCESS": 1}))
    held.advance(T0 + 480)
    api = await start(held)
    query = "step=300&from=2026-11-23T09:02:00Z&to=2026-11-23T09:06:00Z"
    answer = await api.get(f"/v1/campaigns/c/windows?{query}")
    assert [(w["start"], w["end"], w["counts"], w["state"]) for w in answer["windows"]] == [
        ("2026-11-23T09:00:00Z", "2026-11-23T09:05:00Z", {"SUCCESS": 5}, "closed"),
        ("2026-11-23T09:05:00Z", "2026-11-23T09:10:00Z", {"SUCCESS": 3}, "open"),
    ]


async def test_late_events_are_added_up(start: StartApi) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 1}))
    held.add("c", T0 + 60, counts({"SUCCESS": 1}))
    held.add("c", T0 + 600, counts({"SUCCESS": 1}))
    held.advance(T0 + 660)
    for start_of_late, late in ((T0, 2), (T0 + 60, 3)):
        held.add("c", start_of_late, counts({"FAILURE": late}))
    api = await start(held)
    answer = await api.get("/v1/campaigns/c/windows?step=300&to=2026-11-23T09:05:00Z")
    assert [w["late_events"] for w in answer["windows"]] == [5]


Parts = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.sampled_from(["SUCCESS", "FAILURE", "THROTTLED", "EXPIRED", "NEW_ONE"]),
        st.sampled_from([None, "0", "1"]),
        st.integers(1, 1000),
    ),
    min_size=1,
    max_size=30,
)


@given(parts=Parts, steps=st.integers(1, 12), located=st.booleans())
async def test_merged_windows_are_the_sums_of_their_parts(
    parts: list[tuple[int, str, str | None, int]], steps: int, *, located: bool
) -> None:
    held = holder()
    expected: dict[int, Counter[str]] = {}
    grouped: dict[tuple[int, str | None], Counter[str]] = {}
    step = 60 * steps
    for at, (minute, status, treatment, count) in enumerate(parts):
        start = T0 + 60 * minute
        held.add(
            "c", start, counts({status: count}, treatment), partition=None if located else at % 4
        )
        merged = start - start % step
        expected.setdefault(merged, Counter())[status] += count
        grouped.setdefault((merged, treatment), Counter())[status] += count
    async with running(held, located=located) as api:
        answer = await api.get(f"/v1/campaigns/c/windows?step={step}&by=treatment_id")
    assert [w["counts"] for w in answer["windows"]] == [expected[s] for s in sorted(expected)]
    for merged, window in zip(sorted(expected), answer["windows"], strict=True):
        totals = Counter(STATUS_GROUPS.totals(expected[merged]))
        attempts = totals.total() - totals["suppressed"]
        assert window["attempts"] == attempts
        if attempts:
            assert window["rates"]["failure"] == pytest.approx(totals["failure"] / attempts)
        for group in window["groups"]:
            assert group["counts"] == grouped[merged, group["treatment_id"]]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("step=90", "step=90: expected a multiple of the window size (60 s), such as 120"),
        ("step=0", "step=0: expected a whole number"),
        ("step=-60", "step=-60"),
        ("step=1e3", "step=1e3"),
        ("from=yesterday", "from=yesterday: expected a time"),
        ("from=2026-11-23T09:00:00", "from="),
        ("from=2026-13-23T09:00:00Z", "from="),
        ("from=2026-11-23T09:00:00%2B10:60", "from=2026-11-23T09:00:00+10:60: expected a time"),
        ("from=2026-11-23T09:00:00-24:00", "from="),
        ("from=2026-11-23T24:00:00Z", "from="),
        ("from=2026-11-23T23:59:60Z", "from="),
        ("from=2026-02-29T00:00:00Z", "from="),
        ("from=0000-02-30T00:00:00Z", "from="),
        ("to=999999999999999", "to=999999999999999: expected a time in the years"),
        ("to=-999999999999999", "to="),
        ("to=1e12", "to="),
        ("to=NaN", "to="),
        ("to=%D9%A1%D9%A2", "to="),
        ("to=%00", "to="),
        ("to=%ED%A0%80", "the query is not UTF-8"),
        ("to=", "to="),
        ("from=9&to=9", "from: expected a time before to"),
        ("by=app_id", "by=app_id: expected some of treatment_id, delivery_type, channel_type"),
        ("by=treatment_id,treatment_id", "by="),
        ("form=9", "did you mean from?"),
        ("limit=9", "unknown parameter limit"),
        ("step=60&step=60", "step is there twice"),
        ("step=", "step=: expected"),
        ("by=%ff", "not UTF-8"),
    ],
)
async def test_a_wrong_parameter_is_named(start: StartApi, query: str, named: str) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 1}))
    api = await start(held)
    assert named in await api.refused(f"/v1/campaigns/c/windows?{query}", 400)


@pytest.mark.parametrize(
    "time",
    [
        "999999999999999",
        "-999999999999999",
        "253402300799999",
        "now",
        "%00",
    ],
)
async def test_a_window_beyond_the_calendar_is_refused(start: StartApi, time: str) -> None:
    api = await start(holder())
    assert "start=" in await api.refused(f"/v1/campaigns/c/windows/{time}", 400)


@pytest.mark.parametrize("first", ["0000-02-29T23:59:59Z", "0001-01-01T00:00:00+23:59"])
@pytest.mark.parametrize("last", ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-23:59"])
async def test_all_that_a_date_can_be_is_a_time(start: StartApi, first: str, last: str) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 1}))
    api = await start(held)
    between = urlencode({"from": first, "to": last})
    assert len((await api.get(f"/v1/campaigns/c/windows?{between}"))["windows"]) == 1
    assert "nothing in the window" in await api.refused(
        f"/v1/campaigns/c/windows/{quote(first)}", 404
    )


async def test_too_many_windows_are_refused_with_a_way_out(start: StartApi) -> None:
    small = partition_settings(size=1)
    held = holder(settings=small)
    for second in range(10_001):
        held.add("c", T0 + second, counts({"SUCCESS": 1}))
    api = await start(held, settings=small)
    assert "step=2 or more" in await api.refused("/v1/campaigns/c/windows", 400)
    answer = await api.get("/v1/campaigns/c/windows?step=2")
    assert sum(window["attempts"] for window in answer["windows"]) == 10_001


async def test_one_window(start: StartApi) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 3}, "0"))
    api = await start(held)
    by_ms = await api.get(f"/v1/campaigns/c/windows/{T0 * 1000}?by=treatment_id")
    by_time = await api.get("/v1/campaigns/c/windows/2026-11-23T09:00:00Z?by=treatment_id")
    assert by_ms == by_time
    assert by_ms["window"]["groups"][0]["counts"] == {"SUCCESS": 3}
    assert "09:01:00" in await api.refused(f"/v1/campaigns/c/windows/{(T0 + 60) * 1000}", 404)
    detail = await api.refused("/v1/campaigns/c/windows/2026-11-23T09:00:40Z", 400)
    assert "nearest one starts at 2026-11-23T09:01:00Z" in detail
    await api.refused("/v1/campaigns/c/windows/soon", 400)
