"""What all answers of the API have, and what is answered instead of one."""

from msgspec import Struct


class Answer(Struct, kw_only=True):
    """Of when the figures are, and what is missing from the answer."""

    as_of: str
    partial: bool = False
    missing_partitions: list[int] = []


class Problem(Struct):
    """What went wrong and what to do (RFC 9457)."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
