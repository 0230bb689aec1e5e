"""The code table as it is shipped: one xz-compressed text file inside the package, read on first use.

Three sections of tab-separated lines, parted by an empty line, each sorted:
    chapter number, title
    block, chapter number, title
    code, billable, header, title[, block]     the block is given on a category's line (3 characters) only
`billable` and `header` are fiscal years, first-last (`2016-2022`), or - for none: a code is billable in some years, a
header that only groups codes in others, and unknown in the rest. Neither can be seen from its place in the tree.
The tree of all years is not stored: a code's descendants are the codes that it is a prefix of, and in sorted order they
follow it.

Codes, years and titles are those of CMS's yearly order files, which are in the public domain.
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
"""The fiscal years that the table knows. One begins on 1 October of the year before."""

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
    """All 98,847 nodes from category level down, sorted."""
    rows: dict[str, int]
    """code -> its position in `codes`."""
    eras: list[Era]
    """The distinct eras: 56."""
    era_of: bytes
    """For each row, the position of its era in `eras`."""
    text: bytes
    """The file."""
    offsets: array[int]
    """Where each code's title starts in `text`, in bytes. The text is 9 MB; as strings the titles alone take 13."""

    def title(self, row: int) -> str:
        """The title of the code in that row."""
        return _line(self.text, self.offsets[row]).partition(b"\t")[0].decode()


@cache
def table() -> Table:
    """The table; read once a process (about 0.1 s)."""
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
    # A list of lines would be 13 MB more at the peak.
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
    """From `start` to the end of the line."""
    end = text.find(b"\n", start)
    return text[start:] if end < 0 else text[start:end]


def _years(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last) + 1) if first else range(0)


def _fields(section: bytes) -> list[list[str]]:
    return [line.split("\t") for line in section.decode().split("\n")]
