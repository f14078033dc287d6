"""Which keys there are, as the models have them: for hints, and to read text by its key."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr

from streams.configuration.models import Configuration
from streams.configuration.values import Settings

FILE_SUFFIX = "_file"


def plain(annotation: Any) -> Any:
    """The type without what surrounds it: `Annotated`, and `| None`."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        some = [each for each in get_args(annotation) if each is not type(None)]
        return plain(some[0]) if len(some) == 1 else annotation
    return annotation


def is_section(annotation: Any) -> bool:
    """Tell whether keys are below it."""
    kind = plain(annotation)
    return isinstance(kind, type) and issubclass(kind, Settings)


def item_of(annotation: Any) -> Any:
    """The type of a list's items; None if it is no list."""
    kind = plain(annotation)
    return get_args(kind)[0] if get_origin(kind) is tuple else None


def is_mapping(annotation: Any) -> bool:
    """Tell whether it is a mapping with free keys."""
    return get_origin(plain(annotation)) is dict


def is_secret(annotation: Any) -> bool:
    """Tell whether it is a secret, or a list of them."""
    return plain(annotation) is SecretStr or plain(item_of(annotation)) is SecretStr


def is_path(annotation: Any) -> bool:
    """Tell whether it is the path of a file."""
    return plain(annotation) is Path


def is_text(annotation: Any) -> bool:
    """Tell whether any text is taken as it stands."""
    kind = plain(annotation)
    return kind in {str, SecretStr, Path} or get_origin(kind) is Literal


def keys_of(annotation: Any) -> dict[str, Any]:
    """The keys of a section with their types."""
    fields = plain(annotation).model_fields.items()
    return {field.validation_alias or name: field.annotation for name, field in fields}


def annotation_at(keys: Sequence[str | int]) -> Any:
    """The type of the value at the keys; None if no such key is known."""
    found: Any = Configuration
    for key in keys:
        if isinstance(key, int):
            found = item_of(found)
        elif is_section(found):
            found = keys_of(found).get(key)
        else:
            found = next(iter(get_args(plain(found))[1:]), None) if is_mapping(found) else None
    return found


def secret_from_file(keys: Sequence[str | int]) -> tuple[str | int, ...] | None:
    """The keys of the secret that `…_file` is the file of; None if it is no such key."""
    last = keys[-1]
    if annotation_at(keys) is not None or not str(last).endswith(FILE_SUFFIX):
        return None
    secret = (*keys[:-1], str(last).removesuffix(FILE_SUFFIX))
    return secret if is_secret(annotation_at(secret)) else None


def holds_secret(keys: Sequence[str | int]) -> bool:
    """Tell whether the keys lead to a secret or into a list of secrets."""
    return any(is_secret(annotation_at(keys[:length])) for length in range(1, len(keys) + 1))


def leaves(annotation: Any = Configuration, above: tuple[str, ...] = ()) -> Iterator[str]:
    """All keys with a value, dotted; lists and their items are one key."""
    for key, kind in keys_of(annotation).items():
        if is_section(kind):
            yield from leaves(kind, (*above, key))
        else:
            yield ".".join((*above, key))


def nearest(keys: Sequence[str | int]) -> str | None:
    """The known key that someone may have meant: a sibling, one elsewhere, or a similar one."""
    *above, last = keys
    known = list(leaves())
    respelled = [key for key in known if _letters(key) == _letters(dotted(keys))]
    parent = annotation_at(above)
    names = keys_of(parent) if is_section(parent) else {}
    siblings = [dotted((*above, name)) for name in difflib.get_close_matches(str(last), names, n=1)]
    elsewhere = [key for key in known if key.rpartition(".")[2] == last]
    similar = difflib.get_close_matches(dotted(keys), known, n=1, cutoff=0.8)
    return next(iter([*respelled, *siblings, *elsewhere, *similar]), None)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def dotted(keys: Sequence[str | int]) -> str:
    """Write keys as people do: `rules[0].detector.level`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")
