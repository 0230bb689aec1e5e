"""Colours and legends of many series."""

from __future__ import annotations

from deepicd.evaluation.report import charts


def test_no_two_of_many_models_have_the_same_colour() -> None:
    names = [f"model-{number}" for number in range(14)]
    for lines in (False, True):
        colours = charts.colours(names, lines=lines)["scale"]["range"]
        assert len(set(colours)) == 14
    assert charts.colours(names[:3])["scale"]["range"] == list(charts.COLOURS[:3])


def test_a_legend_has_as_many_columns_as_fit_into_half_a_page() -> None:
    assert "columns" not in charts.colours(["base", "sft", "grpo"])["legend"]
    assert charts.colours([f"other-model-{number}" for number in range(10)])["legend"]["columns"] == 2
    assert charts.colours(["a" * 40, "b"])["legend"]["columns"] == 1
