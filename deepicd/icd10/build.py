"""Writes the table's file from CMS's yearly releases, with the chapters and blocks of the newest release.

Run `python -m deepicd.icd10.build CODES` (needs the `dev` extra) after a new release, and commit the file. The same input gives
the same bytes.

CODES is a text file in UTF-8, xz-compressed if its name ends in .xz. It has a line for each code and header in any of CMS's
ICD-10-CM order files (`icd10cm_order_YYYY.txt`, works of the US government, in the public domain). Lines that begin with # are
comments. The others have tab-separated fields:
    code           without its dot
    billable       fiscal years in which it was billable, first-last (`2016-2022`), or - for none
    header         fiscal years in which it was a header only, in the same form
    title          CMS's long title in the newest release that has it
Chapters, blocks, and the block of each category come from `simple-icd-10-cm` (MIT), which has the tabular list of the newest
release. That list still has every category that was ever in use.
"""

from __future__ import annotations

import lzma
import re
import sys
from pathlib import Path

from deepicd.errors import UserError
from deepicd.icd10.table import FILE

# A decoder allocates the dictionary size named in the file. 8 MiB hold the whole text; the preset's 64 MiB would be wasted.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 8 << 20}]
_LINE = re.compile(r"[A-Z][0-9A-Z]{2,6}\t(?:\d{4}-\d{4}|-)\t(?:\d{4}-\d{4}|-)\t\S[^\t]*")


def table_text(source: Path) -> bytes:
    """The uncompressed content of the table's file. See `deepicd.icd10.table` for the format.

    Raises:
        UserError: the source cannot be read, a line does not have this form, or a code has no category.
    """
    chapters, blocks, categories = _tabular_list()
    codes = sorted(_read(source))
    for code, *_ in codes:
        if code[:3] not in categories:
            raise UserError(f"{source}: {code}: the newest tabular list has no category {code[:3]}: add its block here")
    lines = [(*fields, categories[fields[0]]) if len(fields[0]) == 3 else fields for fields in codes]
    sections = (sorted(chapters), sorted(blocks), lines)
    return "\n\n".join("\n".join("\t".join(map(str, line)) for line in section) for section in sections).encode()


def _read(source: Path) -> list[tuple[str, ...]]:
    """(code, billable, header, title) of each line."""
    try:
        packed = source.read_bytes()
        lines = (lzma.decompress(packed) if source.suffix == ".xz" else packed).decode().splitlines()
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: cannot be read ({error}): give the file of codes by year") from None
    found: list[tuple[str, ...]] = []
    for number, line in enumerate(lines, start=1):
        if line.startswith("#"):
            continue
        if not _LINE.fullmatch(line):
            raise UserError(f"{source} line {number}: is not code, billable, header, title: correct the line")
        found.append(tuple(line.split("\t")))
    return found


def _tabular_list() -> tuple[list[tuple[int, str]], list[tuple[str, str, str]], dict[str, str]]:
    """(number, title) of each chapter, (block, chapter, title) of each block, and the innermost block of each category."""
    # Imported here because only this script needs the library, which takes seconds and hundreds of megabytes to load.
    import simple_icd_10_cm as official

    chapters, blocks, categories = [], [], {}
    for node in dict.fromkeys(official.get_all_codes(with_dots=False)):
        if official.is_chapter(node):
            chapters.append((int(node), official.get_description(node)))
        if official.is_block(node):
            chapter = official.get_ancestors(node, prioritize_blocks=True)[-1]
            blocks.append((node, chapter, official.get_description(node, prioritize_blocks=True)))
        if official.is_category(node):
            categories[node] = official.get_parent(node)
    return chapters, blocks, categories


def compressed(text: bytes) -> bytes:
    """The bytes of the table's file."""
    return lzma.compress(text, format=lzma.FORMAT_XZ, filters=_FILTERS)


def main(arguments: list[str]) -> None:
    """Write the file next to this module.

    Raises:
        UserError: there is not exactly one argument, or see `table_text`.
    """
    if len(arguments) != 1:
        raise UserError("give the file of codes by year: python -m deepicd.icd10.build CODES")
    Path(__file__).with_name(FILE).write_bytes(compressed(table_text(Path(arguments[0]))))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
