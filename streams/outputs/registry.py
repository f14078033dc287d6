"""All topics. What is made, checked, written to, granted and documented is derived from here."""

from streams.outputs.alerts import ALERTS
from streams.outputs.output import OutputTopic
from streams.outputs.topics import (
    APP_NAMES,
    CAMPAIGN_NAMES,
    CHANGELOG,
    DEAD_LETTER,
    GROUPS,
    REPARTITION,
    SILENCES,
    SOURCE,
    Topic,
)
from streams.outputs.windows import WINDOWS

OUTPUTS: tuple[OutputTopic, ...] = (ALERTS, WINDOWS)
"""The output topics: a further one is a line here."""

TOPICS: tuple[Topic, ...] = (
    SOURCE,
    REPARTITION,
    CHANGELOG,
    SILENCES,
    GROUPS,
    CAMPAIGN_NAMES,
    APP_NAMES,
    *(output.topic for output in OUTPUTS),
    DEAD_LETTER,
)
"""All topics, in the order in which records go through them."""
