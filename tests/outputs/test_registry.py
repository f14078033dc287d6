"""The registry of topics, and what is derived from it."""

import jsonschema
import pytest

from streams.configuration.models import Configuration
from streams.engine.cluster.rights import needed_rights
from streams.engine.tasks.context import Topics
from streams.outputs.output import OutputTopic
from streams.outputs.registry import OUTPUTS, TOPICS


def test_roles_and_names_are_different() -> None:
    assert len({topic.role for topic in TOPICS}) == len(TOPICS)
    names = [topic.default for topic in TOPICS if topic.default]
    assert len(set(names)) == len(names)
    assert len({output.schema for output in OUTPUTS}) == len(OUTPUTS)


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.topic.role)
def test_an_output_topic_is_written_and_nothing_else(output: OutputTopic) -> None:
    assert output.topic.rights == ("WRITE",)
    assert not output.topic.one_a_task, "a campaign's records go where its key says"
    jsonschema.Draft202012Validator.check_schema(output.json_schema())


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.topic.role)
def test_an_output_topic_that_is_named_is_used_everywhere(output: OutputTopic) -> None:
    configuration = Configuration.model_validate({"topics": {output.topic.role: "mine"}})
    assert (output.topic, "mine") in configuration.topics.named()
    rights = [(each.operation, each.name) for each in needed_rights(configuration, [])]
    assert ("WRITE", "mine") in rights
    counts = {name: 3 for _, name in configuration.topics.named()}
    topics = Topics.of(configuration.topics, counts)
    assert (output, "mine", 3) in topics.outputs
    assert (output.topic.setting, "mine", 3) in list(topics.written())


@pytest.mark.parametrize("output", [each for each in OUTPUTS if each.topic.default is None])
def test_an_output_topic_without_a_name_is_not_used(output: OutputTopic) -> None:
    topics = Configuration().topics
    assert output.topic not in [topic for topic, _ in topics.named()]
    used = Topics.of(topics, {name: 3 for _, name in topics.named()}).outputs
    assert output not in [each.kind for each in used]
