from deepicd.evaluation.confusion import by_chapter
from deepicd.evaluation.predictions import Prediction


def test_rows_are_gold_chapters_and_the_last_column_is_no_valid_prediction() -> None:
    pairs = [("M5116", "M5117"), ("M5116", "I10"), ("M5116", "M51"), ("M5116", None), ("D65", "D120")]
    confusion = by_chapter([Prediction(str(n), "1", *pair) for n, pair in enumerate(pairs)])
    assert confusion.gold == (3, 13)
    assert confusion.predicted == (2, 3, 9, 13)
    assert confusion.admissions.tolist() == [[1, 0, 0, 0, 0], [0, 0, 1, 1, 2]]


def test_a_local_code_of_no_category_has_a_separate_row() -> None:
    records = [Prediction("1", "1", "ZZ999", "ZZ999", local_gold=True), Prediction("2", "2", "K859", "ZZ999")]
    confusion = by_chapter(records)
    assert (confusion.gold, confusion.predicted) == ((0, 11), (0, 11))
    assert confusion.admissions.tolist() == [[1, 0, 0], [1, 0, 0]]
