"""What is made of stretches of windows is kept, and is never out of date."""

import math
import random
from dataclasses import replace

import pytest

from streams.api.stretches import STRETCH, Parts, StretchReader, WindowRange
from streams.api.time_slices import TimeSlices
from streams.domain.partition import CampaignPartition
from streams.domain.windows import DAY, Rollup, RollupStep, WindowPolicy
from tests.support.partitions import PARTITION_SETTINGS, MemoryHolder, counts, holder

SIZE = 900
T0 = 1_767_225_600
SETTINGS = replace(
    PARTITION_SETTINGS,
    windows=WindowPolicy(
        SIZE,
        30,
        2 * DAY,
        (
            Rollup(RollupStep(3_600), 4 * DAY),
            Rollup(RollupStep(DAY, "America/St_Johns"), 90 * DAY),
        ),
    ),
)
WHOLE = WindowRange("c", -math.inf, math.inf)


class Maker:
    """Counts how often something was made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, parts: Parts) -> Parts:
        self.made += 1
        return list(parts)


async def read(
    reader: StretchReader[Parts],
    partition: CampaignPartition,
    wanted: WindowRange,
    make: Maker,
    about: str = "",
) -> list[Parts]:
    newest = reader.newest(partition, wanted, make, TimeSlices(), about)
    return [each async for each in newest]


def change(held: MemoryHolder, chance: random.Random, now: int) -> int:
    """Count something, on time or late, or let time go on; return the time."""
    match chance.randrange(4):
        case 0:
            now += chance.choice((60, SIZE, 4 * SIZE, DAY // 2))
            held.advance(now)
        case 1:
            late = now - chance.randrange(6 * DAY)
            held.add("c", max(T0, late) // SIZE * SIZE, counts({"FAILURE": 1}))
        case 2:
            held.add("another", now // SIZE * SIZE, counts({"SUCCESS": 1}))
        case _:
            held.add("c", now // SIZE * SIZE, counts({"SUCCESS": chance.randint(1, 3)}))
    return now


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_kept_is_what_is_read_anew(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    held = holder(count=1, settings=SETTINGS)
    partition = held.here[0]
    kept: StretchReader[Parts] = StretchReader(chance.choice((200, 10_000)), len)
    of_kept, of_new = Maker(), Maker()
    now = T0
    for _ in range(400):
        now = change(held, chance, now)
        ranges = [WHOLE, WindowRange("c", now - chance.randrange(5 * DAY), math.inf)]
        ranges.append(WindowRange("c", -math.inf, now - chance.randrange(5 * DAY)))
        wanted = chance.choice(ranges)
        anew: StretchReader[Parts] = StretchReader(10_000, len)
        expected = await read(anew, partition, wanted, of_new)
        assert await read(kept, partition, wanted, of_kept) == expected
    assert now > T0 + 8 * DAY
    assert 0 < of_kept.made < of_new.made


async def test_windows_may_expire_while_they_are_read() -> None:
    held = holder(count=1, settings=replace(SETTINGS, windows=WindowPolicy(SIZE, 30, DAY, ())))
    for number in range(3 * STRETCH):
        held.add("c", T0 + number * SIZE, counts({"SUCCESS": 1}))
    newest = StretchReader[Parts](10_000, len).newest(
        held.here[0], WHOLE, Maker(), TimeSlices(), None
    )
    seen = [await anext(newest)]
    held.advance(T0 + 3 * STRETCH * SIZE + 2 * DAY)
    seen += [each async for each in newest]
    assert all(part.start >= T0 for parts in seen for part in parts)
    assert len(seen) < 4


async def test_a_part_of_a_stretch_does_not_take_the_place_of_the_whole() -> None:
    held = holder(count=1, settings=SETTINGS)
    for number in range(2 * STRETCH):
        held.add("c", T0 + number * SIZE, counts({"SUCCESS": 1}))
    make, reader = Maker(), StretchReader[Parts](10_000, len)
    whole = await read(reader, held.here[0], WHOLE, make)
    assert sum(map(len, whole)) == 2 * STRETCH
    made = make.made
    (part,) = await read(reader, held.here[0], WindowRange("c", T0, T0 + SIZE), make)
    assert [each.start for each in part] == [T0]
    assert make.made == made + 1
    assert await read(reader, held.here[0], WHOLE, make) == whole
    assert make.made == made + 1
    # What is made of them otherwise is something else.
    await read(reader, held.here[0], WHOLE, make, "otherwise")
    assert make.made == 2 * made + 1


async def test_what_was_not_asked_for_for_longest_is_forgotten() -> None:
    held = holder(count=1, settings=SETTINGS)
    for campaign in ("a", "b", "c"):
        held.add(campaign, T0, counts({"SUCCESS": 1}))
    # A stretch weighs 2: two of them are kept.
    make, reader = Maker(), StretchReader[Parts](4, len)

    async def ask(campaign: str) -> int:
        await read(reader, held.here[0], WHOLE._replace(campaign_id=campaign), make)
        return make.made

    assert [await ask(each) for each in "ab"] == [1, 2]
    assert [await ask(each) for each in "ab"] == [2, 2]
    assert [await ask(each) for each in "aca"] == [2, 3, 3]
    assert await ask("b") == 4
