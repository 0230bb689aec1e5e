import pytest

from deepicd import icd10
from deepicd.icd10.titles import nearest_codes, nearest_words, search


def test_all_words_have_to_be_in_the_title() -> None:
    found = search("lumbar disc")
    assert "M5116" in found
    assert all("lumb" in (title := icd10.description(code).lower()) and "disc" in title for code in found)
    assert found == sorted(found)


@pytest.mark.parametrize(
    "text", ["Intervertebral RADICULOPATHY lumbar", "radiculopathy, intervertebral lumbar reg", "radiculopathy-lumbar interv"]
)
def test_case_order_marks_and_the_ends_of_words_do_not_matter(text: str) -> None:
    assert search(text) == ["M5116"]


def test_a_word_is_not_found_inside_another() -> None:
    assert "J189" not in search("neumonia")


def test_accents_do_not_matter() -> None:
    assert search("Ménière") == search("meniere") == ["H810", "H8101", "H8102", "H8103", "H8109"]


def test_retired_codes_are_found() -> None:
    assert "T814XXA" in search("infection following a procedure initial")


@pytest.mark.parametrize("text", ["", " ", "?!", "zebracanary"])
def test_nothing_is_found_for_no_words_and_unknown_ones(text: str) -> None:
    assert search(text) == []


def test_the_nearest_word_of_an_unknown_one() -> None:
    assert nearest_words("lumbar pneumona") == {"pneumona": "pneumonia"}
    assert nearest_words("qqqqqq") == {"qqqqqq": None}


@pytest.mark.parametrize(
    ("code", "nearest"),
    [("M51169", "M5116"), ("I1O", "I10"), ("M1516", "M151"), ("5M116", "M5116"), ("K8509X", "K850"), ("ZZ999", None)],
)
def test_the_nearest_codes_of_one_that_does_not_exist(code: str, nearest: str | None) -> None:
    found = nearest_codes(code)
    assert (nearest in found) if nearest else not found
    assert len(found) <= 5
    assert all(map(icd10.is_valid, found))
