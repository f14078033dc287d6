from streams.backtest.comparison import compare
from tests.backtest.test_episodes import episode


def test_alerts_of_the_same_scope_that_overlap_are_the_same() -> None:
    before = [episode(10, 20), episode(30, 40), episode(50, None)]
    after = [episode(15, 35), episode(60, 70), episode(80, 90, campaign_id="d")]
    found = compare(before, after)
    assert found.kept == [(before[0], after[0]), (before[2], after[1])]
    assert found.gone == []
    assert found.new == [after[2]]


def test_those_that_only_touch_or_are_of_others_are_not() -> None:
    before = [episode(10, 20), episode(10, 20, rule="other"), episode(5, 9, campaign_id="d")]
    after = [episode(20, 30)]
    found = compare(before, after)
    assert found.new == after
    assert found.gone == [before[2], before[0], before[1]]
    assert found.kept == []
