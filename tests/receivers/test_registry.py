"""What holds for every kind of receiver, also for the next one."""

from typing import Any

import pytest
import yaml

from streams.configuration import schema
from streams.configuration.kinds import kind_of
from streams.configuration.models import Configuration
from streams.receivers.receiver import HttpReceiver, Receiver
from streams.receivers.registry import KINDS
from streams.settings import HIDDEN

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

each_kind = pytest.mark.parametrize("kind", KINDS, ids=kind_of)


def example_of(kind: type[Receiver]) -> dict[str, Any]:
    (item,) = yaml.safe_load(kind.example)
    assert isinstance(item, dict)
    return item


def with_secrets(kind: type[Receiver], item: dict[str, Any]) -> dict[str, Any]:
    """Put a value where the example has the file of a secret."""
    keys, found = schema.keys_of(kind), {}
    for key, value in item.items():
        secret = key.removesuffix(schema.FILE_SUFFIX)
        if key in keys:
            found[key] = value
        else:
            found[secret] = [SECRET] if schema.item_of(keys[secret]) else SECRET
    return found


def test_kinds_have_names_of_their_own() -> None:
    names = [kind_of(kind) for kind in KINDS]
    assert len(set(names)) == len(names)


@each_kind
def test_a_kind_says_which_one_it_is(kind: type[Receiver]) -> None:
    assert schema.keys_of(kind)["kind"].__args__ == (kind_of(kind),)


@each_kind
def test_the_example_is_right_and_has_every_key(kind: type[Receiver]) -> None:
    item = with_secrets(kind, example_of(kind))
    (made,) = Configuration.model_validate({"receivers": [item]}).receivers
    assert type(made) is kind
    assert item.keys() == schema.keys_of(kind).keys()


@each_kind
def test_the_example_names_the_defaults(kind: type[Receiver]) -> None:
    item = with_secrets(kind, example_of(kind))
    keys = schema.keys_of(kind)
    needed = {
        key: item[key]
        for key, field in kind.model_fields.items()
        if field.is_required() or schema.is_secret(keys[key])
    }
    shown = kind.model_validate({"kind": item["kind"], **needed}).model_dump(mode="json")
    secrets = {key for key in item if schema.is_secret(keys[key])}
    assert {key: shown[key] for key in item.keys() - secrets} == {
        key: item[key] for key in item.keys() - secrets
    }


@each_kind
def test_secrets_are_not_shown(kind: type[Receiver]) -> None:
    made = kind.model_validate(with_secrets(kind, example_of(kind)))
    text = repr(made) + made.model_dump_json()
    assert SECRET not in text
    assert HIDDEN in text
    if isinstance(made, HttpReceiver):
        assert made.url not in repr(made)


def test_a_key_means_the_same_in_every_kind() -> None:
    """A variable or a file of a secret is read by its key, whichever kind it turns out to be."""
    known: dict[str, Any] = {}
    for kind in KINDS:
        for key, annotation in schema.keys_of(kind).items():
            if key != "kind":
                assert known.setdefault(key, annotation) == annotation, f"{key} of {kind}"
