from __future__ import annotations

import pytest

from deepicd.rewards.definitions import definition
from deepicd.spec.reward import PRESETS


@pytest.mark.parametrize(("preset", "term"), [(name, term) for name, preset in PRESETS.items() for term in preset.weights])
def test_every_term_of_every_preset_has_a_definition_of_one_line(preset: str, term: str) -> None:
    found = definition({"preset": preset}, term)
    assert found.endswith(".")
    assert "\n" not in found


def test_a_term_of_the_runs_own_names_its_function() -> None:
    assert definition({"terms": {"brief": {"path": "my.module:brief"}}}, "brief") == "The run's own function my.module:brief."
    by_file = {"file": "/terms/terms.py", "function": "brief", "path": None}
    assert definition({"terms": {"brief": by_file}}, "brief") == "The run's own function brief of terms.py."


def test_a_definition_does_not_repeat_the_terms_name() -> None:
    assert definition({}, "reasoning").startswith("Whether the trace argues from the note")


def test_the_judge_and_its_missing_verdicts_are_explained() -> None:
    assert "judge" in definition({}, "judge")
    assert "not part of the reward" in definition({}, "judge_missing")


def test_a_term_that_is_not_known_has_none() -> None:
    assert definition({}, "unheard_of") == ""
