from benchmarks import spike


def test_looks_are_those_that_records_and_windows_take() -> None:
    made = [campaign for campaign in spike.campaigns(2) if any(map(len, campaign.windows))]
    seen = spike.looks(made)
    assert len(seen) > 100
    exceed = [above.exceeds(attempts, hits, level) for above, attempts, hits, level in seen]
    ratios = [above.log_ratio(attempts, hits) - level for above, attempts, hits, level in seen]
    assert exceed == [ratio > 0.0 for ratio in ratios]
    assert any(exceed)
    assert not all(exceed)
