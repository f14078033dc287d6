"""The alerting rules for Prometheus: sound, about metrics that there are, and right about cases."""

import re
import subprocess
from pathlib import Path

import pytest

from streams.observability.families import PREFIX
from streams.observability.metrics import Metrics
from tests.support.real_prometheus import PROMTOOL, RULES

CASES = Path(__file__).with_name("prometheus_rules.yaml")
_SUFFIXES = ("", "_bucket", "_count", "_sum")


def test_they_are_about_metrics_that_there_are() -> None:
    named = set(re.findall(rf"\b{PREFIX}_\w+", RULES.read_text("utf-8")))
    there = {each.name + suffix for each in Metrics("").families.made for suffix in _SUFFIXES}
    assert len(named) > 10
    assert named <= there


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize("arguments", [("check", "rules", RULES), ("test", "rules", CASES)])
def test_promtool_finds_them_right(arguments: tuple[str | Path, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
