"""Writes the table's file from the official release that `simple-icd-10-cm` carries.

Run `python -m deepicd.icd10.build` (needs the `dev` extra) when a new release comes, and commit the file.
The same release gives the same bytes.
"""

from __future__ import annotations

import lzma
from pathlib import Path

from deepicd.icd10.table import FILE

# A decoder allocates the dictionary it is told of: 8 MiB hold the whole text, the preset's own 64 MiB would be waste.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 8 << 20}]


def table_text() -> bytes:
    """The file's text, uncompressed: see `deepicd.icd10.table` for its format."""
    # Imported here: the library costs seconds and hundreds of megabytes, and only this script needs it.
    import simple_icd_10_cm as official

    chapters, blocks, codes = [], [], []
    for node in dict.fromkeys(official.get_all_codes(with_dots=False)):
        if official.is_chapter(node):
            chapters.append((int(node), official.get_description(node)))
        if official.is_block(node):
            blocks.append((node, official.get_ancestors(node, prioritize_blocks=True)[-1]))
        if official.is_category_or_subcategory(node):
            # The source breaks some descriptions over lines.
            line = [node, " ".join(official.get_description(node).split())]
            if official.is_category(node):
                line.append(official.get_parent(node))
            codes.append(tuple(line))
    sections = (sorted(chapters), sorted(blocks), sorted(codes))
    return "\n\n".join("\n".join("\t".join(map(str, line)) for line in section) for section in sections).encode()


def compressed(text: bytes) -> bytes:
    """The file's bytes."""
    return lzma.compress(text, format=lzma.FORMAT_XZ, filters=_FILTERS)


if __name__ == "__main__":
    Path(__file__).with_name(FILE).write_bytes(compressed(table_text()))
