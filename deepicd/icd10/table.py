"""The code table: an xz-compressed text file in the package, read on first use.

The file has three sections of tab-separated lines, separated by empty lines, each sorted:
    chapter number, title
    block, chapter number, title
    code, billable, header, title[, block]     only the line of a category (3 characters) has its block
`billable` and `header` are fiscal years, first-last (`2016-2022`), or - for none. A code can be billable in some years, a
header that only groups codes in others, and unknown in the rest; its place in the tree does not show which.
The tree of all years is not stored: a code's descendants are the codes that start with it, and they follow it in sorted order.

Codes, years and titles are from CMS's yearly order files, which are in the public domain.
"""

from __future__ import annotations

import lzma
import re
from array import array
from dataclasses import dataclass
from functools import cache
from importlib import resources

FILE = "icd10cm-2016-2026.tsv.xz"
FIRST_YEAR, LAST_YEAR = 2016, 2026
"""First and last fiscal year of the table. A fiscal year begins on 1 October of the year before."""

_CODE_LINE = re.compile(rb"\n([^\t]+)\t([^\t]+\t[^\t]+)\t")


@dataclass(frozen=True, slots=True)
class Era:
    """When a code was in use, in fiscal years; either range may be empty."""

    billable: range
    header: range


@dataclass(frozen=True, slots=True)
class Table:
    """The parsed file."""

    chapter_titles: dict[int, str]
    block_chapters: dict[str, int]
    block_titles: dict[str, str]
    category_blocks: dict[str, str]
    """The innermost block of each category."""
    codes: list[str]
    """All 98,847 nodes, categories and below, sorted."""
    rows: dict[str, int]
    """Position of each code in `codes`."""
    eras: list[Era]
    """The 56 distinct eras."""
    era_of: bytes
    """For each row, the position of its era in `eras`."""
    text: bytes
    """The uncompressed file."""
    offsets: array[int]
    """Offset in bytes of each code's title in `text`. The text takes 9 MB; the titles as strings would take 13 MB."""

    def title(self, row: int) -> str:
        """The title of the code in that row."""
        return _line(self.text, self.offsets[row]).partition(b"\t")[0].decode()


@cache
def table() -> Table:
    """The table, read once per process (about 0.1 s)."""
    return parse(lzma.decompress(resources.files("deepicd.icd10").joinpath(FILE).read_bytes()))


def parse(data: bytes) -> Table:
    """Parse the uncompressed file."""
    chapters, blocks = data.split(b"\n\n", 2)[:2]
    block_lines = _fields(blocks)
    category_blocks: dict[str, str] = {}
    codes: list[str] = []
    numbers: dict[bytes, int] = {}
    era_of = bytearray()
    offsets = array("I")
    # A list of lines would add 13 MB to the peak memory.
    for match in _CODE_LINE.finditer(data, len(chapters) + len(blocks) + 3):
        code, era = match[1].decode(), match[2]
        codes.append(code)
        era_of.append(numbers.setdefault(era, len(numbers)))
        offsets.append(match.end())
        if len(code) == 3:
            category_blocks[code] = _line(data, match.end()).rpartition(b"\t")[2].decode()
    return Table(
        {int(number): title for number, title in _fields(chapters)},
        {block: int(chapter) for block, chapter, _ in block_lines},
        {block: title for block, _, title in block_lines},
        category_blocks,
        codes,
        {code: row for row, code in enumerate(codes)},
        [Era(*map(_years, era.decode().split("\t"))) for era in numbers],
        bytes(era_of),
        data,
        offsets,
    )


def _line(text: bytes, start: int) -> bytes:
    """The text from `start` to the end of its line."""
    end = text.find(b"\n", start)
    return text[start:] if end < 0 else text[start:end]


def _years(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last) + 1) if first else range(0)


def _fields(section: bytes) -> list[list[str]]:
    return [line.split("\t") for line in section.decode().split("\n")]
