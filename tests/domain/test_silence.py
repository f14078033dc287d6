"""Campaigns that fall silent: decided by event time, once, and the same through restarts."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.detectors.threshold import Threshold
from streams.domain.detectors.volume import Volume
from streams.domain.partial_counts import PARTIAL_COUNTS_VERSION, Counts, PartialCounts
from streams.domain.partition import CampaignPartition
from streams.domain.rules import Rule, Scope, ScopeKind
from streams.domain.transitions import Transition
from streams.domain.windows import WindowPolicy
from tests.support.changelogs import restored
from tests.support.partitions import PARTITION_SETTINGS, counts, window_counts

SIZE, GRACE, STEP = 60, 30, 10
STALLED = Rule(
    "stalled",
    frozenset({"SUCCESS"}),
    Volume(stalled_windows=3, active_windows=2),
    keep_firing_for=60.0,
)
MINUTE = 60
RESTARTS = pytest.mark.parametrize("restart_every", [0, 1, 7])
SENT = counts({"SUCCESS": 2, "FAILURE": 1}, "0")


class Stream:
    """A partition of campaigns; what reaches it comes in steps of ten seconds.

    Event time is wall-clock time, as long as anything reaches it.
    """

    def __init__(
        self, *rules: Rule, restart_every: int = 0, retention: int = 86_400, app: str | None = "app"
    ) -> None:
        windows = WindowPolicy(SIZE, GRACE, retention)
        self.settings = replace(PARTITION_SETTINGS, rules=rules, windows=windows, idle_timeout=60.0)
        self.partition = CampaignPartition(0, self.settings, [0], 0.0)
        self.now = 0
        self.found: list[tuple[int, Transition]] = []
        self._restart_every = restart_every
        self._app = app
        self._topic: dict[bytes, bytes | None] = {}
        self._log: list[PartialCounts] = []

    def send(self, until: int, *campaigns: str) -> None:
        """Let campaigns send; without any, it is campaigns of other partitions that do."""
        while self.now < until:
            self.add(dict.fromkeys(campaigns, SENT))

    def add(self, sends: Mapping[str, Counts], back: int = 0) -> None:
        """Count sends in this window or `back` windows ago, and go on."""
        start = max(0, self.now - self.now % SIZE - back * SIZE)
        windows = [window_counts(start, sends, self._app)] if sends else []
        event_time = self.now * 1000
        added = PartialCounts(PARTIAL_COUNTS_VERSION, {0: event_time}, event_time, windows)
        self.partition.apply(added, len(self._log), self.now)
        self._log.append(added)
        self._go_on()

    def stand_still(self, until: int) -> None:
        """Let nothing reach it."""
        while self.now < until:
            self._go_on()

    def restart(self) -> None:
        """Let another owner go on."""
        self.partition = restored(self.settings, self._topic, self._log, self.now)

    def _go_on(self) -> None:
        decided = self.partition.advance(self.now, len(self._log))
        decided += self.partition.evaluate(self.now)
        self.found += [(self.now, transition) for transition in decided]
        self._topic.update(self.partition.take_changes(self.now))
        self.now += STEP
        if self._restart_every and self.now // STEP % self._restart_every == 0:
            self.restart()

    @property
    def by_rule(self) -> list[tuple[int, str, str, str | None, str]]:
        """When (s), by which rule, of which campaign and treatment, and what."""
        return [
            (at, each.data.rule, each.data.campaign_id, each.data.treatment_id, each.type)
            for at, each in self.found
        ]

    @property
    def decided(self) -> list[tuple[int, str, str]]:
        """When (s), of which campaign, and what."""
        return [
            (at, each.data.campaign_id, each.type.removeprefix("campaign.alert."))
            for at, each in self.found
        ]


@RESTARTS
@pytest.mark.parametrize("others", [["other"], []])
def test_a_stall_is_told_once_and_its_end_once(restart_every: int, others: list[str]) -> None:
    """Also where no other campaign of the partition sends: event time goes on."""
    stream = Stream(STALLED, restart_every=restart_every)
    stream.send(3 * MINUTE, "c", *others)
    stream.send(20 * MINUTE, *others)
    # Three windows after the one that begins at 120 s, the last of which closes at 390 s.
    assert stream.decided == [(390, "c", "firing")]
    raised = stream.found[0][1].data
    assert (raised.evidence.attempts, raised.app_id) == (0, "app")
    assert raised.evidence.figures == {"silent_windows": 3, "last_sends": 120}
    assert raised.window.start == "1970-01-01T00:03:00Z"
    assert raised.window.end == "1970-01-01T00:06:00Z"
    assert raised.summary == "stalled firing in campaign c: no attempts since 1970-01-01T00:03:00Z"
    stream.send(30 * MINUTE, "c", *others)
    assert stream.decided[1:] == [(20 * MINUTE + 60, "c", "resolved")]
    ended = stream.found[1][1].data
    assert ended.evidence.attempts > 0
    assert ended.totals.since == "1970-01-01T00:03:00Z"
    expected = (
        " after 14 min: 2 of 3 attempts (66.7%) since 1970-01-01T00:21:00Z; "
        "in all 14 of 21 since 1970-01-01T00:03:00Z"
    )
    assert ended.summary.endswith(expected)


@RESTARTS
def test_each_stall_is_told(restart_every: int) -> None:
    stream = Stream(STALLED, restart_every=restart_every)
    for began in range(0, 45, 15):
        stream.send((began + 5) * MINUTE, "c", "other")
        stream.send((began + 15) * MINUTE, "other")
    assert [kind for _, _, kind in stream.decided] == ["firing", "resolved"] * 2 + ["firing"]


@RESTARTS
def test_a_stream_that_stands_still_is_no_stall_of_its_campaigns(restart_every: int) -> None:
    """Neither while it does, nor when it goes on with some of them a little later."""
    too_few = replace(STALLED, name="few", detector=Volume(3, 2, min_sends=5))
    stream = Stream(STALLED, too_few, restart_every=restart_every)
    stream.send(5 * MINUTE + 20, "a", "b")
    stream.stand_still(90 * MINUTE + 40)
    stream.send(92 * MINUTE, "a")
    stream.send(100 * MINUTE, "a", "b")
    assert stream.decided == []


@RESTARTS
def test_a_campaign_that_does_not_come_back_with_the_stream_is_seen_if_the_pause_is_short(
    restart_every: int,
) -> None:
    stream = Stream(STALLED, restart_every=restart_every)
    stream.send(5 * MINUTE, "a", "b")
    stream.stand_still(8 * MINUTE)
    stream.send(20 * MINUTE, "a")
    # Windows 8, 9 and 10 are silent; the last one closes at 690 s.
    assert stream.decided == [(690, "b", "firing")]


@RESTARTS
def test_one_treatment_stalls_alone(restart_every: int) -> None:
    rule = replace(STALLED, scope="treatment", apps=("app",))
    stream = Stream(rule, restart_every=restart_every)
    both = {**SENT, **counts({"SUCCESS": 1}, "1")}
    while stream.now < 5 * MINUTE:
        stream.add({"c": both})
    stream.send(15 * MINUTE, "c")
    ((at, raised),) = stream.found
    assert (at, raised.data.treatment_id) == (510, "1")


def test_late_sends_raise_nothing_by_themselves() -> None:
    stream = Stream(STALLED)
    stream.send(8 * MINUTE, "other")
    for back in (6, 5, 5):
        stream.add({"late": SENT}, back)
    assert stream.decided == []


@RESTARTS
def test_a_campaign_with_too_few_sends(restart_every: int) -> None:
    rule = replace(STALLED, detector=Volume(0, min_sends=10))
    stream = Stream(rule, restart_every=restart_every)
    stream.send(5 * MINUTE, "c", "other")
    while stream.now < 10 * MINUTE:
        stream.add({"other": SENT, **({"c": SENT} if stream.now % 30 == 0 else {})})
    stream.send(20 * MINUTE, "c", "other")
    assert stream.decided == [(390, "c", "firing"), (690 + 60, "c", "resolved")]
    assert stream.found[0][1].data.evidence.attempts == 6


@RESTARTS
def test_a_campaign_of_which_too_little_is_delivered(restart_every: int) -> None:
    rule = replace(STALLED, detector=Volume(0, min_delivery_rate=0.5))
    stream = Stream(rule, restart_every=restart_every)
    stream.send(5 * MINUTE, "c")
    while stream.now < 10 * MINUTE:
        stream.add({"c": counts({"FAILURE": 3, "SUCCESS": 1}, "0")})
    stream.send(20 * MINUTE, "c")
    (at, raised), (_, ended) = stream.found
    # One window of 24 attempts says too little.
    assert at == 450
    assert (raised.data.evidence.hits, raised.data.evidence.attempts) == (12, 48)
    assert ended.type == "campaign.alert.resolved"


def test_the_alert_about_silence_lives_as_long_as_the_campaign_is_known() -> None:
    stream = Stream(STALLED, retention=3600)
    stream.send(5 * MINUTE, "c", "other")
    stream.send(180 * MINUTE, "other")
    (_, _, fired), (at, campaign_id, ended) = stream.decided
    assert (fired, ended, campaign_id) == ("firing", "expired", "c")
    # Its last window, that of 240 s, expires 3,690 s after its start; then there is no data.
    assert at == pytest.approx(240 + SIZE + GRACE + 3600 + STALLED.no_data_after, abs=SIZE + STEP)


def test_nothing_is_kept_of_campaigns_that_are_gone() -> None:
    stream = Stream(STALLED, retention=600)
    for number in range(300):
        stream.add({f"c-{number}": SENT, "other": SENT})
    stream.send(stream.now + 40 * MINUTE, "other")
    partition = stream.partition
    assert not partition._closing
    assert len(partition.table.observed) <= STALLED.detector.lookback + 2
    assert partition._closed.campaigns_since(0) == {"other"}
    assert partition.alerts.live() == []


def test_other_rules_are_not_affected() -> None:
    """No window is closed for them."""
    other = Rule("failing", frozenset({"FAILURE"}), Threshold(0.9))
    stream = Stream(other)
    stream.send(30 * MINUTE, "c")
    stream.send(60 * MINUTE)
    assert (stream.decided, list(stream.partition.table.observed)) == ([], [])
    assert Scope("c") not in {each.scope for each in stream.partition.alerts.live()}


CHECKS = (
    Volume(stalled_windows=1, active_windows=1),
    Volume(0, min_sends=5),
    Volume(0, max_sends=12),
    Volume(0, min_delivery_rate=0.5, min_attempts=4, lookback_windows=3, confidence=0.8),
    Volume(2, 1, min_sends=3, max_sends=20, min_delivery_rate=0.6, lookback_windows=4),
)
SENDS = st.dictionaries(
    st.sampled_from("ab"),
    st.dictionaries(st.sampled_from(("SUCCESS", "FAILURE")), st.integers(1, 9), min_size=1),
)


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(SENDS, st.sampled_from((0, 0, 0, 1, 2, 3)), st.integers(0, 9), st.booleans()),
        max_size=60,
    ),
    st.sampled_from(("campaign", "treatment")),
)
def test_restarts_change_no_decision(
    steps: list[tuple[dict[str, dict[str, int]], int, int, bool]], scope: ScopeKind
) -> None:
    """Sends, how many windows late they are, how long nothing comes after them, and restarts."""
    # A restart cannot know for how long there was no data.
    every = Rule("", frozenset({"SUCCESS"}), CHECKS[0], scope=scope, no_data_after=1e9)
    rules = [
        replace(every, name=f"check-{number}", detector=check, keep_firing_for=0)
        for number, check in enumerate(CHECKS)
    ]
    lived, restarted = Stream(*rules), Stream(*rules)
    for sends, back, pause, is_restarted in steps:
        for stream in (lived, restarted):
            stream.add({name: counts(of_it, str(back)) for name, of_it in sends.items()}, back)
            # Event time goes on, or nothing comes at all.
            if pause % 2:
                stream.send(stream.now + pause * STEP)
            else:
                stream.stand_still(stream.now + pause * STEP)
        if is_restarted:
            restarted.restart()
    assert sorted(lived.by_rule) == sorted(restarted.by_rule)
