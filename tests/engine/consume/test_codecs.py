"""Unpacking gives what aiokafka's own gives, up to a bound."""

from collections.abc import Callable

import cramjam
import pytest
from aiokafka import codec
from aiokafka.record._crecords import default_records

from streams.engine.consume import codecs

CODECS = {
    "gzip": codec.gzip_encode,
    "snappy": codec.snappy_encode,
    "raw snappy": lambda data: bytes(codec.snappy_encode(data, xerial_compatible=False)),
    "lz4": codec.lz4_encode,
    "zstd": codec.zstd_encode,
}
BOUND = 10_000_000


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "MOST_UNPACKED", BOUND)
    codecs.bound_unpacking()


def unpacking(name: str) -> Callable[[bytes], bytes]:
    unpack: Callable[[bytes], bytes] = getattr(
        default_records, f"{name.removeprefix('raw ')}_decode"
    )
    return unpack


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("size", [0, 1, 700, 1_000_000, BOUND])
def test_what_was_packed_comes_out(name: str, size: int) -> None:
    data = (b"a campaign event " * (size // 17 + 1))[:size]
    assert unpacking(name)(CODECS[name](data)) == data


@pytest.mark.parametrize("name", CODECS)
def test_nothing_is_unpacked_beyond_the_bound(name: str) -> None:
    packed = CODECS[name](bytes(BOUND + 1))
    with pytest.raises(codecs.UnpackError, match="more than 10000000 bytes"):
        unpacking(name)(packed)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("cut", [1, 5, 12])
def test_what_is_cut_off_is_an_error(name: str, cut: int) -> None:
    data = bytes(range(256)) * 40
    with pytest.raises(
        (codecs.UnpackError, cramjam.DecompressionError, OSError, EOFError, ValueError)
    ):
        unpacking(name)(CODECS[name](data)[:-cut])


def test_members_of_gzip_follow_one_another() -> None:
    packed = codec.gzip_encode(b"one") + codec.gzip_encode(b"two") + b"\0\0"
    assert unpacking("gzip")(packed) == b"onetwo"


def test_members_of_gzip_have_a_bound() -> None:
    members = codec.gzip_encode(b"") * 50_000
    with pytest.raises(codecs.UnpackError, match="more than 100 members"):
        unpacking("gzip")(members)
