"""A parameter that names several campaigns, whose ids may hold any character."""

import msgspec

from streams.api.parameters import Parameter

MOST_NAMED = 500

_decode_names = msgspec.json.Decoder(list[str]).decode


def _read_names(value: str) -> tuple[str, ...]:
    try:
        names = _decode_names(value)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        raise ValueError("expected a JSON array of campaign ids") from None
    if len(names) > MOST_NAMED:
        raise ValueError(f"expected at most {MOST_NAMED} campaign ids")
    return tuple(names)


CAMPAIGN_IDS = Parameter(
    "campaign_ids",
    _read_names,
    {
        "type": "string",
        # Of all that are read, those without escapes.
        "pattern": r'^\[("[\w .-]{1,100}"(, ?"[\w .-]{1,100}"){0,9})?\]$',
        "contentMediaType": "application/json",
        "examples": ['["summer-sale"]'],
    },
    f"Windows of these campaigns alone: a JSON array of up to {MOST_NAMED} ids.",
)
