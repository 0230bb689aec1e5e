from __future__ import annotations

from pathlib import Path

import pytest

from deepicd.distill.answers import FILE, Answers, Given

KEY, OTHER = "a" * 64, "b" * 64
GIVEN = Given('half a note, "quoted"\nwith é', truncated=False, prompt_tokens=7, completion_tokens=9)


def test_answers_outlive_the_process(tmp_path: Path) -> None:
    first = Answers(tmp_path)
    assert first.get(KEY) is None
    first.add(KEY, GIVEN)
    assert first.get(KEY) == GIVEN
    second = Answers(tmp_path)
    assert (len(second), second.get(KEY), second.get(OTHER)) == (1, GIVEN, None)


@pytest.mark.parametrize("cut", [1, 2, 30, 120])
def test_a_torn_line_is_skipped_and_the_next_answer_is_kept(tmp_path: Path, cut: int) -> None:
    first = Answers(tmp_path)
    first.add(KEY, GIVEN)
    first.add(OTHER, GIVEN)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-cut])
    again = Answers(tmp_path)
    assert (again.get(KEY), again.get(OTHER)) == (GIVEN, None)
    again.add(OTHER, GIVEN)
    assert again.get(OTHER) == GIVEN
    assert Answers(tmp_path).get(OTHER) == GIVEN


def test_a_damaged_line_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f'{{"key": "{KEY}", "text": 3, "who": 1}}\n')
    assert Answers(tmp_path).get(KEY) is None


def test_only_the_user_can_read_the_answers(tmp_path: Path) -> None:
    Answers(tmp_path).add(KEY, GIVEN)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
