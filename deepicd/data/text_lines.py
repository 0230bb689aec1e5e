"""Lines of a text file, plain or compressed with gzip, whatever their ends: LF, CR LF, or CR alone."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

LONGEST = 1 << 26
"""Bytes of a line; longer ones come in pieces. Bounds a quote that is never closed."""
_HEAD, _BLOCK = 1 << 16, 1 << 20


def lines(path: Path) -> Iterator[bytes]:
    """The lines with their ends, the first without a byte order mark.

    Raises:
        OSError: the file cannot be read. EOFError, gzip.BadGzipFile, zlib.error: it is compressed, and damaged.
    """
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(0)
        found = _ended_by_cr(cast("BinaryIO", file)) if _has_cr_alone(head) else iter(lambda: file.readline(LONGEST), b"")
        yield next(found, b"").removeprefix(codecs.BOM_UTF8)
        yield from found


def _has_cr_alone(head: bytes) -> bool:
    """Whether the first line ends in CR, not in CR LF."""
    first = head.partition(b"\n")[0]
    return b"\r" in first.removesuffix(b"\r")


def _ended_by_cr(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_BLOCK):
        *whole, rest = (rest + block).split(b"\r")
        yield from (line + b"\r" for line in whole)
        if len(rest) > LONGEST:
            yield rest
            rest = b""
    if rest:
        yield rest
