"""What is written to `campaign-windows`."""

from dataclasses import replace

import jsonschema
import orjson

from streams.configuration.models import Configuration
from streams.configuration.translation import partition_settings_of
from streams.domain.counts import OTHER, Cell, StatusGroups
from streams.domain.emission import WindowResult
from streams.domain.partial_counts import Dimensions
from streams.engine.cluster.message_limits import LEAST_BYTES
from streams.outputs.output import Changes
from streams.outputs.windows import WINDOWS, json_schema
from tests.support.partitions import PARTITION_SETTINGS, counts

START = 1_790_000_040


def record(cell: Cell, *, campaign_id: str = "c", revision: int = 1, limit: int = 10**6) -> bytes:
    result = WindowResult(START, campaign_id, cell, revision)
    ((key, value),) = WINDOWS.records(Changes(3, results=[result]), PARTITION_SETTINGS, limit)
    assert key == campaign_id.encode()
    jsonschema.validate(orjson.loads(value), json_schema())
    return value


def test_a_record_has_the_figures_of_the_window() -> None:
    sends = counts({"SUCCESS": 6, "FAILURE": 2, "EXPIRED": 1, "ODD": 2}, "0")
    sends |= counts({"SUCCESS": 4}, "1")
    engagement = {Dimensions("opened_notification", None, None, None, engagement=True): 5}
    value = record(Cell("app", sends, engagement, 3), campaign_id="é/..", revision=2)
    assert orjson.loads(value) == {
        "type": "campaign.window.corrected",
        "campaign_id": "é/..",
        "app_id": "app",
        "partition": 3,
        "start": "2026-09-21T14:14:00Z",
        "end": "2026-09-21T14:15:00Z",
        "revision": 2,
        "counts": {"EXPIRED": 1, "FAILURE": 2, "ODD": 2, "SUCCESS": 10},
        "attempts": 14,
        "unrecognised": 2,
        "rates": {"success": 10 / 14, "failure": 2 / 14, "throttled": 0.0},
        "engagement": {"opened_notification": 5},
        "late_events": 3,
    }


def test_without_attempts_rates_are_null() -> None:
    value = orjson.loads(record(Cell(None, {}, {}, 0)))
    assert value["type"] == "campaign.window.closed"
    assert value["rates"] == {"success": None, "failure": None, "throttled": None}


def test_statuses_follow_the_configured_groups() -> None:
    settings = replace(PARTITION_SETTINGS, groups=StatusGroups.of({"failure": ["SUCCESS"]}))
    result = WindowResult(START, "c", Cell(None, counts({"SUCCESS": 2}), {}, 0), 1)
    ((_, value),) = WINDOWS.records(Changes(0, results=[result]), settings, 10**6)
    assert orjson.loads(value)["rates"]["failure"] == 1.0


def test_a_record_fits_whatever_statuses_there_are() -> None:
    sends = counts({"\x00" * 4_000 + str(n): n + 1 for n in range(60)} | {"SUCCESS": 7})
    whole = Cell("\x01" * 1_024, sends, {}, 0)
    campaign_id = "\x02" * 4_096
    limit = LEAST_BYTES * 15 // 16 - 1024
    value = record(whole, campaign_id=campaign_id, limit=limit)
    assert len(value) + len(campaign_id) <= limit
    found = orjson.loads(value)
    assert found["counts"][OTHER] > 0
    assert sum(found["counts"].values()) == sum(sends.values()) == found["attempts"]


def test_results_are_made_only_for_a_topic_that_is_named() -> None:
    for name in (None, "campaign-windows"):
        configuration = Configuration.model_validate({"topics": {"windows": name}})
        assert partition_settings_of(configuration, None).emits_windows == (name is not None)
