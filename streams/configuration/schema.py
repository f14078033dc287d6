"""Which keys there are, as the models have them: for hints, and to read text by its key."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr

from streams.configuration.kinds import kind_of
from streams.configuration.models import Configuration
from streams.settings import Settings

FILE_SUFFIX = "_file"


def plain(annotation: Any) -> Any:
    """The type without what surrounds it: `Annotated`, and `| None`."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        some = [each for each in get_args(annotation) if each is not type(None)]
        return plain(some[0]) if len(some) == 1 else annotation
    return annotation


def sections(annotation: Any) -> tuple[type[Settings], ...]:
    """The models of a section: several, if it is of one of several kinds; none if it is none."""
    kind = plain(annotation)
    is_union = get_origin(kind) in {Union, UnionType}
    models = [plain(each) for each in get_args(kind)] if is_union else [kind]
    if all(isinstance(model, type) and issubclass(model, Settings) for model in models):
        return tuple(models)
    return ()


def is_section(annotation: Any) -> bool:
    """Tell whether keys are below it."""
    return bool(sections(annotation))


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
    """The keys of a section with their types; of all its kinds, if there are several."""
    return {
        str(field.validation_alias or name): field.annotation
        for model in sections(annotation)
        for name, field in model.model_fields.items()
    }


def without_kinds(location: Sequence[str | int]) -> tuple[str | int, ...]:
    """The keys of an error's location: pydantic adds the kind after a section that has several."""
    found: Any = Configuration
    keys: list[str | int] = []
    for key in location:
        models = sections(found)
        if len(models) > 1:
            found = next((model for model in models if kind_of(model) == key), None)
        else:
            keys.append(key)
            found = _below(found, key)
    return tuple(keys)


def annotation_at(keys: Sequence[str | int]) -> Any:
    """The type of the value at the keys; None if no such key is known."""
    found: Any = Configuration
    for key in keys:
        found = _below(found, key)
    return found


def _below(annotation: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return item_of(annotation)
    if is_section(annotation):
        return keys_of(annotation).get(key)
    return next(iter(get_args(plain(annotation))[1:]), None) if is_mapping(annotation) else None


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


def nearest(keys: Sequence[str | int], kind: str | None = None) -> str | None:
    """The known key that someone may have meant: one near by, one elsewhere, or a similar one.

    Args:
        keys: lead to what is not known.
        kind: of the section that it is in, if that has several kinds and says which one it is.
    """
    *above, last = keys
    known = list(leaves())
    respelled = [key for key in known if _letters(key) == _letters(dotted(keys))]
    parent = annotation_at(above)
    names = dict.fromkeys(keys_of(_of_kind(parent, kind)))
    siblings = [dotted((*above, name)) for name in difflib.get_close_matches(str(last), names, n=1)]
    inside = [
        dotted((*above, name, str(last)))
        for name, section in keys_of(parent).items()
        if last in keys_of(section)
    ]
    elsewhere = [key for key in known if key.rpartition(".")[2] == last]
    similar = difflib.get_close_matches(dotted(keys), known, n=1, cutoff=0.8)
    return next(iter([*respelled, *inside, *siblings, *elsewhere, *similar]), None)


def kinds_with(keys: Sequence[str | int]) -> list[str]:
    """The kinds of the section around a key that have this key, if there are several kinds."""
    *above, last = keys
    models = sections(annotation_at(above))
    return [kind_of(model) for model in models if last in keys_of(model)] if len(models) > 1 else []


def _of_kind(annotation: Any, kind: str | None) -> Any:
    models = sections(annotation)
    return next(
        (model for model in models if len(models) > 1 and kind_of(model) == kind), annotation
    )


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def dotted(keys: Sequence[str | int]) -> str:
    """Write keys as people do: `rules[0].detector.level`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")
