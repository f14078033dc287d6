import xml.etree.ElementTree as ET

import numpy as np

from benchmarks.detection import tables, traffic
from benchmarks.detection.__main__ import _equal
from benchmarks.detection.drawing import Chart, Line, Panel
from benchmarks.detection.scoring import Alert, Interval, Scores
from benchmarks.detection.traffic import Hit
from tests.benchmarks.test_detection_scoring import RUN

NAN = float("nan")


def _scores(*alerts: Alert) -> Scores:
    scores = Scores()
    scores.add(RUN, {Hit.FAILURE: alerts, Hit.THROTTLED: ()})
    return scores


def test_what_cannot_be_estimated_is_a_dash() -> None:
    assert tables.of_interval(Interval(NAN, 0.0, 1.0)) == tables.of_times([]) == "-"
    assert tables.row("nothing", Scores())[1:4] == ("-", "-", "-")


def test_each_campaign_is_in_one_band() -> None:
    for bands in (tables.RHOS, tables.USUAL, tables.VOLUMES):
        edges = [(band.low, band.high) for band in bands]
        assert [low for low, _ in edges[1:]] == [high for _, high in edges[:-1]]
    rows = tables.by_band(_scores(Alert(1010, 1500)), tables.VOLUMES, lambda each: each.volume)
    assert [row[1] for row in rows] == ["0", "0", "1", "0", "0"]
    assert rows[2][2].startswith("1.000")


def test_incidents_are_counted_by_kind() -> None:
    rows = {row[0]: row[1] for row in tables.by_kind(_scores())}
    assert rows[traffic.Kind.STEP.value] == "1"
    assert sum(map(int, rows.values())) == 1


def test_setting_with_most_recall_and_no_more_false_alarms_is_compared() -> None:
    ours, finds = _scores(Alert(1010, 1500)), _scores(Alert(1020, 1500))
    noisy, silent = _scores(Alert(1010, 1500), Alert(5000, 5100)), _scores()
    usual = {("a", 1.0): noisy, ("a", 2.0): finds, ("a", 3.0): silent, ("b", 1.0): noisy}
    assert _equal("a", ours, usual) == ("a 2, tuned", finds)
    assert _equal("b", ours, usual) == ("b 1, fewest false", noisy)


def test_scores_of_parts_are_those_of_all() -> None:
    both = _scores(Alert(1010, 1500))
    both.extend(_scores())
    assert (both.recall.value, len(both.days)) == (0.5, 2)


def test_chart_is_xml_with_its_lines_and_alerts() -> None:
    chart = Chart("a < b", 100, 200, 150, [(150, 180)])
    seconds = np.arange(100.0, 200.0)
    values = np.where(seconds == 150.0, np.nan, 1.0)
    chart.add(Panel("p", [Line("rate", seconds, values, "#000000")]))
    chart.add_alerts({"ours": [Alert(160, None), Alert(20, 30)], "other": [Alert(90, 120)]})
    root = ET.fromstring(chart.svg())  # noqa: S314 - made here
    name = "{http://www.w3.org/2000/svg}"
    texts = [each.text for each in root.iter(f"{name}text")]
    assert len(list(root.iter(f"{name}polyline"))) == 2
    assert {"a < b", "ours", "other", "+10 s"} <= set(texts)
    assert "-60 s" not in texts
