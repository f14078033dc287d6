"""Dead letters in memory, as the API is given them."""

from streams.domain.dead_letters import DeadLetterSample, NewestDeadLetters
from streams.errors import UserError


class MemoryDeadLetters:
    """Dead letters of no topic. Set `fails` to have them unreadable.

    Attributes:
        found: newest first.
    """

    def __init__(self) -> None:
        self.found: list[DeadLetterSample] = []
        self.fails: UserError | None = None

    async def newest(self) -> NewestDeadLetters:
        if self.fails is not None:
            raise self.fails
        return NewestDeadLetters(self.found)


def sample(offset: int = 7, beginning: str | None = '{"xxx": 9') -> DeadLetterSample:
    """Return a dead letter that was cut off by its sender."""
    return DeadLetterSample(
        partition=0,
        offset=offset,
        failed_at=1_795_428_000.0,
        reason="not-json",
        detail="unexpected end",
        source_topic="campaign-events",
        source_partition=3,
        source_offset=42,
        size=9,
        truncated=False,
        replayed=False,
        beginning=beginning,
    )
