from __future__ import annotations

import pytest

from deepicd_operator.reasons import EXPLANATIONS, MAX_FOUND, Reason, Rule


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_an_explanation_and_every_problem_a_remedy(reason: Reason) -> None:
    explanation = EXPLANATIONS[reason]
    assert explanation.meaning
    assert explanation.rule is Rule.CONTINUE or explanation.remedy


def test_a_message_is_one_bounded_line_with_the_finding_and_the_remedy() -> None:
    message = Reason.IMAGE_PULL_FAILED.message("no\nsuch image " + "x" * 5000)
    assert message.startswith("the image cannot be pulled (no such image ")
    assert message.endswith("or push the image")
    assert "\n" not in message
    assert len(message) < MAX_FOUND + 200
