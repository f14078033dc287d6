"""Fuzzed records: each is counted, skipped or rejected for the reason that it has."""

from itertools import islice

import pytest

from tests import fuzz
from tests.support.fuzzing import records


def test_the_same_seed_gives_the_same_records() -> None:
    assert list(islice(records(7), 300)) == list(islice(records(7), 300))
    assert list(islice(records(7), 300)) != list(islice(records(8), 300))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_record_is_accounted_for(seed: int) -> None:
    pipeline, wrong = fuzz.run(10_000, seed)
    assert not wrong
    # The records are good for something: all that can become of them does.
    assert pipeline.counted > 3_000
    assert pipeline.skipped.total() > 300
    assert pipeline.rejected.keys() >= {
        *("not-json", "not-an-object", "missing-field", "wrong-type", "impossible-time"),
        *("too-large", "expired"),
    }
