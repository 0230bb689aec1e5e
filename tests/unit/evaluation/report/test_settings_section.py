"""Settings that differ from their defaults."""

from __future__ import annotations

from dataclasses import replace

from deepicd.evaluation.report import Report
from deepicd.evaluation.report.sections import settings
from deepicd.spec.load import dump, parse
from tests.unit.spec.test_load import quickstart


def changed_by(**sft: object) -> dict[str, tuple[str, str]]:
    content = quickstart()
    content["spec"]["stages"]["sft"] = sft
    return {one.path: (one.value, one.default) for one in settings.changed(parse(content, "run.yaml").spec, "spec")}


def test_a_changed_setting_has_its_value_and_default() -> None:
    found = changed_by(learningRate=0.5)
    assert found["spec.stages.sft.learningRate"] == ("0.5", "2.0e-05")
    assert "spec.stages.sft.maxTokens" not in found


def test_values_are_written_as_in_run_yaml() -> None:
    content = quickstart()
    content["spec"]["recovery"] = {"stallAfter": "7m"}
    found = {one.path: one for one in settings.changed(parse(content, "run.yaml").spec, "spec")}
    assert (found["spec.recovery.stallAfter"].value, found["spec.recovery.stallAfter"].default) == ("7m", "30m")


def test_weights_that_the_preset_fills_in_are_no_change() -> None:
    assert "spec.reward.weights" not in changed_by()


def test_the_whole_run_yaml_is_folded_away(report: Report) -> None:
    found = settings.section(replace(report, settings=dump(parse(quickstart(), "run.yaml"))))
    assert '<details class="yaml">' in found.html
    assert "apiVersion: deepicd.io/v1alpha1" in found.html


def test_a_run_yaml_that_this_version_cannot_read_is_still_shown(report: Report) -> None:
    found = settings.section(report).html
    assert "cannot read the run.yaml" in found
    assert "kind: DeepICDRun" in found
