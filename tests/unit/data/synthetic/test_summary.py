"""The synthetic discharge summaries."""

from __future__ import annotations

import random

from deepicd.data import leaks, sections
from deepicd.data.headers import Header
from deepicd.data.synthetic import cases, summary
from deepicd.data.synthetic.diseases import choose

DISEASES = choose(60, random.Random(3))


def summaries(number: int, **options: int) -> list[tuple[cases.Case, str]]:
    rng = random.Random(9)
    drawn = [cases.draw(rng.choice(DISEASES), DISEASES, rng) for _ in range(number)]
    return [(case, summary.write(case, "F", rng, **options)) for case in drawn]


def test_complaint_present_illness_history_and_exam_are_found_whatever_their_headers() -> None:
    wanted = {Header.CHIEF_COMPLAINT, Header.PRESENT_ILLNESS, Header.PAST_HISTORY, Header.PHYSICAL_EXAM}
    for _, text in summaries(300):
        assert wanted <= set(sections.extract(text))


def test_only_the_later_sections_contain_the_answer() -> None:
    for case, text in summaries(300):
        assert f"PRIMARY:\n{case.disease.description}" in text
        note = sections.render(sections.extract(text))
        assert case.disease.description not in note
        assert "better" not in note
        assert leaks.signs(note) == set()


def test_notes_are_short_enough_for_a_small_model() -> None:
    lengths = [len(sections.render(sections.extract(text)).split()) for _, text in summaries(300)]
    assert 35 <= sorted(lengths)[150] <= 80
    assert max(lengths) <= 90


def test_later_sections_can_be_made_long_without_touching_the_note() -> None:
    for _, text in summaries(5, later_words=1200):
        assert len(text) > 6000
        assert len(sections.render(sections.extract(text))) < 700


def test_a_bare_summary_holds_no_admission_section() -> None:
    assert sections.is_empty(sections.extract(summary.bare("M")))
    assert sections.sex(summary.bare("M")) == "M"
