"""The code table as it is shipped: one xz-compressed text file inside the package, read on first use.

Three sections of tab-separated lines, parted by an empty line, each sorted:
    chapter number, title
    block, chapter number
    code, description[, block]     the block is given on a category's line (3 characters) only
The tree is not stored: a code's descendants are the codes that it is a prefix of, and in sorted order they follow it.
"""

from __future__ import annotations

import lzma
from array import array
from dataclasses import dataclass
from functools import cache
from importlib import resources

FILE = "icd10cm-2026-04.tsv.xz"


@dataclass(frozen=True, slots=True)
class Table:
    """The parsed file."""

    chapter_titles: dict[int, str]
    block_chapters: dict[str, int]
    category_blocks: dict[str, str]
    """The innermost block of each category."""
    codes: list[str]
    """All 98,186 nodes from category level down, sorted."""
    rows: dict[str, int]
    """code -> its position in `codes`."""
    text: bytes
    """The code section of the file."""
    offsets: array[int]
    """Where each code's description starts in `text`, in bytes: 8 MB in all, where strings take 13."""


@cache
def table() -> Table:
    """The table; read once a process (about 0.1 s)."""
    return parse(lzma.decompress(resources.files("deepicd.icd10").joinpath(FILE).read_bytes()))


def parse(data: bytes) -> Table:
    """Parse the uncompressed file."""
    chapters, blocks, text = data.split(b"\n\n")
    chapter_titles = {int(number): title for number, title in _fields(chapters)}
    block_chapters = {block: int(number) for block, number in _fields(blocks)}
    category_blocks: dict[str, str] = {}
    codes: list[str] = []
    offsets = array("I")
    position = 0
    for line in text.split(b"\n"):
        code = line[: line.index(b"\t")].decode()
        if len(code) == 3:
            category_blocks[code] = line[line.rindex(b"\t") + 1 :].decode()
        codes.append(code)
        offsets.append(position + len(code) + 1)
        position += len(line) + 1
    rows = {code: row for row, code in enumerate(codes)}
    return Table(chapter_titles, block_chapters, category_blocks, codes, rows, text, offsets)


def _fields(section: bytes) -> list[list[str]]:
    return [line.split("\t") for line in section.decode().split("\n")]
