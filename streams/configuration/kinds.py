"""Sections of one of several kinds, each kind with keys of its own: `kind` says which one it is."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from streams.settings import Settings

UNKNOWN_KIND = "unknown_kind"
"""The type of the error about a section whose `kind` is none of those that there are."""


def kind_of(model: type[Settings]) -> str:
    """Return the kind that a model is for: the default of its field `kind`."""
    return str(model.model_fields["kind"].default)


def one_of(models: Sequence[type[Settings]]) -> Any:
    """Return the type of a section that is of one of several kinds.

    An error inside of such a section has the kind in its location, after the section's own key:
    `schema.without_kinds` removes it.

    Args:
        models: one for each kind, with a field `kind` that has a literal type and a default. The
            first one is for a section that does not say its kind.
    """
    kinds = [kind_of(model) for model in models]

    def tag(value: object) -> object:
        if isinstance(value, Mapping):
            return value.get("kind", kinds[0])
        return getattr(value, "kind", kinds[0])

    members = [Annotated[model, Tag(kind_of(model))] for model in models]
    return Annotated[
        reduce(or_, members),
        Discriminator(
            tag,
            custom_error_type=UNKNOWN_KIND,
            custom_error_message=f"not known, known kinds: {', '.join(kinds)}",
        ),
    ]
