"""What one receiver is told of another one, as golden files: the contract with who is told."""

from pathlib import Path
from typing import get_args

import orjson
import pytest

from streams.domain import receiver_events
from streams.domain.receiver_events import TYPES, ReceiverChange

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_795_428_042.0  # 2026-11-23T10:00:42Z
REASON = "HTTP status 503: no room"
TOLD: dict[ReceiverChange, tuple[float | None, str | None]] = {
    "failing": (NOW - 62, REASON),
    "recovered": (NOW - 62, None),
    "disabled": (None, "HTTP status 410: not here any more"),
}
"""Since when the receiver fails, and the reason."""


@pytest.mark.parametrize("change", get_args(ReceiverChange))
def test_golden(change: ReceiverChange) -> None:
    since, reason = TOLD[change]
    made = receiver_events.delivery_of("watcher", change, "ops", since, reason, NOW)
    written = (GOLDEN / f"receiver-{change}.json").read_text()
    sent = orjson.loads(bytes(made.transition))
    assert orjson.dumps(sent, option=orjson.OPT_INDENT_2).decode() + "\n" == written
    assert sent["type"] == TYPES[change] == f"{receiver_events.PREFIX}{change}"
