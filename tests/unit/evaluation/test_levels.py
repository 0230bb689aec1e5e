import pytest

from deepicd.evaluation.levels import Level, class_of


@pytest.mark.parametrize(
    ("code", "classes"),
    [
        ("M5116", ("13", "M51", "M5116")),
        ("D65", ("03", "D65", "D65")),  # the letter D begins chapters 2 and 3
        ("D120", ("02", "D12", "D120")),
        ("C7A010", ("02", "C7A", "C7A010")),
        ("H9010", ("08", "H90", "H9010")),
        ("T814XXA", ("19", "T81", "T814XXA")),  # retired
        ("K8599", ("11", "K85", "K8599")),  # local, of a category that exists
        ("ZZ999", ("00", "ZZ9", "ZZ999")),  # local, of none
    ],
)
def test_class_at_each_level(code: str, classes: tuple[str, str, str]) -> None:
    assert tuple(class_of(code, level) for level in Level) == classes
