"""Blocks of a file as they are meant: gzip is recognised by its first bytes and unpacked."""

import zlib
from collections.abc import Iterator
from io import BufferedIOBase, RawIOBase

Readable = BufferedIOBase | RawIOBase

MAGIC = b"\x1f\x8b"
GZIP_WINDOW = zlib.MAX_WBITS | 16  # zlib: "add 16 to windowBits to write a gzip header"


class GzipError(Exception):
    """The compressed data is damaged or ends early; what came before it has been given out."""


def plain_blocks(stream: Readable, block_bytes: int) -> Iterator[bytes]:
    """Yield the content of `stream` in blocks of at most about `block_bytes`, none of them empty.

    Several gzip files joined into one are read to the end.

    Raises:
        GzipError: after the last good block.
    """
    # Both give what a pipe has, instead of waiting until a block is full.
    read = stream.read1 if isinstance(stream, BufferedIOBase) else stream.read
    blocks = iter(lambda: read(block_bytes) or b"", b"")
    head = b""
    while len(head) < len(MAGIC) and (block := next(blocks, b"")):
        head += block
    if head.startswith(MAGIC):
        yield from _unpacked(_with_head(head, blocks), block_bytes)
    elif head:
        yield from _with_head(head, blocks)


def _with_head(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from blocks


def _unpacked(blocks: Iterator[bytes], block_bytes: int) -> Iterator[bytes]:
    member = None
    for block in blocks:
        packed = block
        while packed:
            if member is None:
                packed = packed.lstrip(b"\0")  # gzip allows zeros after a member
                member = zlib.decompressobj(GZIP_WINDOW) if packed else None
                continue
            # The output is limited as well: a few kilobytes can unpack into gigabytes.
            try:
                unpacked = member.decompress(packed, block_bytes)
            except zlib.error as error:
                raise GzipError(f"the gzip data is damaged ({error})") from error
            if unpacked:
                yield unpacked
            packed = member.unconsumed_tail
            if member.eof:
                packed, member = member.unused_data, None
    if member is not None:
        raise GzipError("the gzip data ends early")
