"""Compressed batches are unpacked up to a bound.

aiokafka unpacks a batch whole, whatever comes out. A megabyte of zstd can be 32 GB of zeros: a
worker would die of it, and again after each start.
"""

import zlib
from collections.abc import Callable
from typing import Any

import cramjam
from aiokafka.record import default_records as python_records
from aiokafka.record._crecords import default_records, legacy_records

MOST_UNPACKED = 128 * 1024 * 1024
"""Bytes of one batch. Brokers take 1 MB as they come by default; records are compressed to a tenth,
seldom a hundredth."""

FIRST_GUESS = 32
"""How many times as large as it is a batch will become, at most, as a rule."""
LEAST_BUFFER = 64 * 1024
MOST_MEMBERS = 100
"""Of one gzip stream; producers make one. What follows a member is copied: a megabyte of empty ones
would take seconds, and ten of them minutes."""


class UnpackError(Exception):
    """A batch cannot be unpacked."""


def bound_unpacking() -> None:
    """Let aiokafka unpack no batch beyond the bound.

    To be called before clients are made; doing it again is harmless.
    """
    for module in (default_records, legacy_records, python_records):
        for name, bounded in _BOUNDED.items():
            if hasattr(module, name):
                setattr(module, name, bounded)


def _gzip(payload: Any) -> bytes:
    packed, unpacked = bytes(payload), bytearray()
    members = 0
    while packed:
        members += 1
        if members > MOST_MEMBERS:
            raise UnpackError(f"more than {MOST_MEMBERS} members in a gzip stream")
        # Members may follow one another, and zeros the last one, as in a file.
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        unpacked += member.decompress(packed, MOST_UNPACKED - len(unpacked) + 1)
        if len(unpacked) > MOST_UNPACKED:
            raise _too_much()
        if not member.eof:
            raise UnpackError("the gzip stream is cut off")
        packed = member.unused_data.lstrip(b"\0")
    return bytes(unpacked)


def _lz4(payload: Any) -> bytes:
    return _into_buffer(cramjam.lz4.decompress_into, payload)


def _zstd(payload: Any) -> bytes:
    return _into_buffer(cramjam.zstd.decompress_into, payload)


def _into_buffer(unpack_into: Callable[[bytes, bytearray], int], payload: Any) -> bytes:
    """Unpack into a buffer; the codec says only that it was too small, so try larger ones."""
    packed = bytes(payload)
    size = max(LEAST_BUFFER, FIRST_GUESS * len(packed))
    while True:
        buffer = bytearray(min(size, MOST_UNPACKED))
        try:
            length = unpack_into(packed, buffer)
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            if size >= MOST_UNPACKED:
                raise _too_much() from error
            size *= 8
        else:
            return bytes(memoryview(buffer)[:length])


XERIAL_MAGIC = b"\x82SNAPPY\x00"
XERIAL_HEADER_BYTES = 16


def _snappy(payload: Any) -> bytes:
    """Unpack one block, or several in the frame that Java's producers use, the xerial library's."""
    packed, unpacked = bytes(payload), bytearray()
    if not packed.startswith(XERIAL_MAGIC):
        return bytes(_snappy_block(packed, 0))
    at = XERIAL_HEADER_BYTES
    while at < len(packed):
        start = at + 4
        at = start + int.from_bytes(packed[at:start], "big")
        if at > len(packed):
            raise UnpackError("the snappy stream is cut off")
        unpacked += _snappy_block(packed[start:at], len(unpacked))
    return bytes(unpacked)


def _snappy_block(packed: bytes, before: int) -> Any:
    if before + cramjam.snappy.decompress_raw_len(packed) > MOST_UNPACKED:
        raise _too_much()
    return cramjam.snappy.decompress_raw(packed)


def _too_much() -> UnpackError:
    return UnpackError(f"more than {MOST_UNPACKED} bytes unpacked")


_BOUNDED: dict[str, Callable[[Any], bytes]] = {
    "gzip_decode": _gzip,
    "snappy_decode": _snappy,
    "lz4_decode": _lz4,
    "zstd_decode": _zstd,
}
