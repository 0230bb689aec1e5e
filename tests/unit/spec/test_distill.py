from __future__ import annotations

from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun
from tests.unit.spec.test_load import quickstart

NEAR = {"endpoint": "http://127.0.0.1:8000/v1", "name": "teacher"}
FAR = {"endpoint": "https://api.example.org/v1", "name": "teacher"}


def run(teacher: dict[str, Any], compute: dict[str, Any] | None = None, **fields: Any) -> DeepICDRun:
    content = quickstart()
    content["spec"]["stages"]["distill"] = {"teacher": teacher, **fields}
    if compute is not None:
        content["spec"]["stages"] = {"distill": content["spec"]["stages"]["distill"], "evaluate": None}
        content["spec"]["compute"] |= compute
    return parse(content, "run.yaml")


def test_every_threshold_has_a_default() -> None:
    distill = run(NEAR).spec.stages.distill
    assert distill is not None
    assert (distill.oracle, distill.samples, distill.temperature) == (True, 4, 0.9)
    assert (distill.filters.min_words, distill.filters.later, distill.filters.similarity) == (15, 0, 0.8)


@pytest.mark.parametrize("teacher", [NEAR, {"run": "other"}, {"model": "/models/teacher"}])
def test_there_are_three_kinds_of_teacher(teacher: dict[str, Any]) -> None:
    distill = run(teacher).spec.stages.distill
    assert distill is not None
    kinds = ("run", "model", "endpoint")
    assert {kind: getattr(distill.teacher, kind) for kind in kinds} == {kind: teacher.get(kind) for kind in kinds}


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        ({}, "give exactly one of run, model, endpoint"),
        ({"run": "a", "model": "b"}, "give exactly one of run, model, endpoint"),
        ({"endpoint": "http://127.0.0.1/v1"}, "name: is missing"),
        ({"run": "a", "name": "b"}, "name: goes with endpoint: remove it"),
        ({"model": "a", "apiKey": {"env": "KEY"}}, "apiKey: goes with endpoint: remove it"),
        ({"model": "a", "dataUse": "the data protection officer"}, "dataUse: goes with endpoint: remove it"),
        (FAR, "stages.distill.teacher.endpoint: is not on this machine"),
        ({**FAR, "dataUse": " " * 20}, "stages.distill.teacher.dataUse: "),
        ({**FAR, "dataUse": "ok"}, "who attests what about sending notes"),
        *(
            ({**FAR, "endpoint": f"http://{host}/v1"}, "stages.distill.teacher.endpoint: is not on this machine")
            for host in (
                "[2001:db8::1]",
                "[::ffff:10.0.0.1]",
                "localhost.evil.com",
                "127.0.0.1.evil.com",
                "10.0.0.1.nip.io",
                "2130706433",
                "0x7f000001",
                "127.1",
                "172.32.0.1",
                "169.254.169.254",
                "teacher.internal",
                "a.svc.evil.com",
                "192.168.1.1.1",
            )
        ),
        ({**NEAR, "endpoint": "https://me:swordfish@127.0.0.1/v1"}, "has a user or password in it"),
        ({**NEAR, "endpoint": "http://127.0.0.1:99999/v1"}, "endpoint: is not an address"),
        ({**NEAR, "prices": {"prompt": -1}}, "stages.distill.teacher.prices.prompt"),
    ],
)
def test_a_mistake_in_the_teacher_is_named(teacher: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        run(teacher)
    assert says in str(error.value)
    assert "swordfish" not in str(error.value)


def test_an_endpoint_outside_needs_an_attestation_which_the_run_records() -> None:
    attested = "Dr A. Example: contract 7 with the host forbids keeping the notes"
    found = run({**FAR, "dataUse": attested})
    assert found.spec.decisive["stages"]["distill"]["teacher"]["dataUse"] == attested


def test_traces_of_a_file_and_of_a_teacher_do_not_go_together() -> None:
    content = quickstart()
    content["spec"]["data"] = {"prepared": "cohort", "traces": "traces.jsonl"}
    content["spec"]["stages"]["distill"] = {"teacher": NEAR}
    with pytest.raises(UserError, match=r"data.traces: stages.distill creates the traces itself: remove one of the two"):
        parse(content, "run.yaml")
    del content["spec"]["data"]["traces"]
    assert parse(content, "run.yaml").spec.prepared_sft is None


def test_distillation_may_be_the_only_stage() -> None:
    content = quickstart()
    content["spec"]["stages"] = {"distill": {"teacher": NEAR}, "evaluate": None}
    assert parse(content, "run.yaml").spec.stages.distill is not None


def test_copies_of_the_teacher_fill_the_gpus() -> None:
    run({"model": "m", "tensorParallel": 2}, {"gpus": 4})
    with pytest.raises(UserError, match=r"compute.gpus is not a multiple of stages.distill.teacher.tensorParallel"):
        run({"model": "m", "tensorParallel": 3}, {"gpus": 4})


def test_most_words_are_not_less_than_least() -> None:
    with pytest.raises(UserError, match="maxWords: is less than minWords"):
        run(NEAR, filters={"minWords": 50, "maxWords": 40})


@pytest.mark.parametrize("field", ["concurrency", "tensorParallel", "timeout", "giveUpAfter", "prices"])
def test_speed_and_prices_may_change_in_a_run(field: str) -> None:
    values: dict[str, Any] = {
        "concurrency": 8,
        "tensorParallel": 1,
        "timeout": "9s",
        "giveUpAfter": "9m",
        "prices": {"prompt": 1},
    }
    assert run(NEAR).spec.decisive == run({**NEAR, field: values[field]}).spec.decisive


def test_a_run_without_distillation_is_the_one_that_earlier_versions_began() -> None:
    assert "distill" not in parse(quickstart(), "run.yaml").spec.decisive["stages"]


def test_each_side_of_difficulty_is_off_until_it_is_given() -> None:
    content = quickstart()
    content["spec"]["stages"]["grpo"]["difficulty"] = {}
    grpo = parse(content, "run.yaml").spec.stages.grpo
    assert grpo is not None
    assert grpo.difficulty is not None
    assert (grpo.difficulty.samples, grpo.difficulty.drop_solved, grpo.difficulty.drop_unsolved) == (8, None, None)
