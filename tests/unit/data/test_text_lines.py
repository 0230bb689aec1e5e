from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepicd.data import text_lines
from deepicd.data.text_lines import lines

LINE = st.binary(max_size=20).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@given(first=LINE, rest=st.lists(LINE), closed=st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_have_their_ends(tmp_path: Path, end: bytes, first: bytes, rest: list[bytes], closed: bool) -> None:
    written = [line + end for line in (b"x" + first, *rest)] + ([] if closed else [b"x"])
    for name, content in (("t.txt", b"".join(written)), ("t.gz", gzip.compress(b"".join(written)))):
        (tmp_path / name).write_bytes(content)
        assert list(lines(tmp_path / name)) == written


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    for end in (b"\n", b"\r"):
        (tmp_path / "t").write_bytes(b"\xef\xbb\xbfa" + end + b"b" + end)
        assert list(lines(tmp_path / "t")) == [b"a" + end, b"b" + end]


@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_a_line_without_end_comes_in_pieces(tmp_path: Path, end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "LONGEST", 1 << 20)
    whole = b"a" + end + b"x" * (5 << 20)
    (tmp_path / "t").write_bytes(whole)
    pieces = list(lines(tmp_path / "t"))
    assert b"".join(pieces) == whole
    assert max(map(len, pieces)) <= 2 << 20
