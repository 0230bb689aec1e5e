from __future__ import annotations

from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.spec.endpoint import endpoint_address
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun
from deepicd.spec.storage import Address
from tests.unit.spec.test_load import quickstart

ENDPOINT = {"endpoint": "http://127.0.0.1:8000/v1", "name": "judge"}
FAR = {"endpoint": "https://api.example.org/v1", "name": "judge"}


def run(judge: dict[str, Any] | None, weights: dict[str, float] | None = None, **compute: Any) -> DeepICDRun:
    content = quickstart()
    reward = {"weights": {"judge": 0.1} if weights is None else weights, **({} if judge is None else {"judge": judge})}
    content["spec"]["reward"] = reward
    content["spec"]["compute"] |= compute
    return parse(content, "run.yaml")


def test_a_judge_is_a_term_beside_those_of_the_preset() -> None:
    reward = run(ENDPOINT).spec.reward
    assert list(reward.weights) == ["outcome", "format", "hierarchy", "reasoning", "judge"]
    assert reward.judge is not None
    assert (reward.judge.on_failure, reward.judge.rubric, reward.judge.timeout.total_seconds()) == ("skip", "default", 60)


@pytest.mark.parametrize("preset", ["deepicd-r1", "strict"])
def test_a_judge_may_be_added_to_a_preset_with_fixed_weights(preset: str) -> None:
    content = quickstart()
    content["spec"]["reward"] = {"preset": preset, "weights": {"judge": 0.5}, "judge": ENDPOINT}
    assert parse(content, "run.yaml").spec.reward.weights == {"judge": 0.5}


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        ({}, "give exactly one of model, endpoint"),
        ({**ENDPOINT, "model": "/models/judge"}, "give exactly one of model, endpoint"),
        ({"endpoint": "http://127.0.0.1:8000/v1"}, "spec.reward.judge.name: is missing"),
        ({"model": "/models/judge", "name": "x"}, "name: goes with endpoint"),
        ({"model": "/models/judge", "apiKey": {"env": "KEY"}}, "apiKey: goes with endpoint"),
        ({"model": "/models/judge", "dataUse": "the data protection officer"}, "dataUse: goes with endpoint"),
        ({**ENDPOINT, "placement": "colocated"}, "placement: colocated goes with model: give one, or use server"),
        ({**ENDPOINT, "apiKey": {}}, "give exactly one of env, secret"),
        ({**ENDPOINT, "apiKey": {"env": "KEY", "secret": "judge"}}, "give exactly one of env, secret"),
        ({**ENDPOINT, "maxFailures": 1}, "spec.reward.judge.maxFailures"),
        ({**ENDPOINT, "onFailure": "zero"}, "spec.reward.judge.onFailure"),
        (FAR, "spec.reward.judge.endpoint: is not on this machine"),
        ({**FAR, "dataUse": "trust me"}, "spec.reward.judge.dataUse"),
        ({**ENDPOINT, "endpoint": "judge:8000"}, "spec.reward.judge.endpoint: must be an http:// or https:// address"),
        ({**ENDPOINT, "endpoint": "http://127.0.0.1:99999/v1"}, "spec.reward.judge.endpoint: is not an address"),
        ({**ENDPOINT, "endpoint": "http://127.0.0.1/v1?key=x"}, "judge.endpoint: has a query or fragment"),
        ({**ENDPOINT, "tumeout": "5s"}, "unknown field 'tumeout': did you mean 'timeout'?"),
    ],
)
def test_a_mistake_in_the_judge_is_named(judge: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        run(judge)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("judge", "weights", "says"),
    [
        (ENDPOINT, {}, "spec.reward.weights.judge: is missing or 0: give the judge a weight"),
        (ENDPOINT, {"judge": 0}, "spec.reward.weights.judge: is missing or 0"),
        (None, {"judge": 0.1}, "spec.reward.weights.judge: there is no judge: give reward.judge"),
    ],
)
def test_judge_and_weight_go_together(judge: dict[str, Any] | None, weights: dict[str, float], says: str) -> None:
    with pytest.raises(UserError) as error:
        run(judge, weights)
    assert says in str(error.value)


def test_no_term_of_the_users_own_is_called_judge() -> None:
    content = quickstart()
    content["spec"]["reward"] = {"terms": {"judge": {"path": "m:f"}}}
    with pytest.raises(UserError, match="'judge' is taken"):
        parse(content, "run.yaml")


def test_credentials_in_an_endpoint_are_refused_without_showing_them() -> None:
    with pytest.raises(UserError, match="has a user or password in it") as error:
        run({"endpoint": "https://me:swordfish@127.0.0.1/v1", "name": "judge"})
    assert "swordfish" not in str(error.value)
    with pytest.raises(UserError, match=r"endpoint: has a query or fragment \(from \? or # on\): remove it") as error:
        run({"endpoint": "https://127.0.0.1/v1?key=swordfish", "name": "judge"})
    assert "swordfish" not in str(error.value)


def test_an_endpoint_outside_needs_an_attestation_which_the_run_records() -> None:
    attested = "Dr A. Example: contract 7 with the host forbids keeping the notes"
    found = run({**FAR, "dataUse": attested})
    assert found.spec.decisive["reward"]["judge"]["dataUse"] == attested


@pytest.mark.parametrize(
    ("endpoint", "inside"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.1.2.3:8000/v1", True),
        ("https://192.168.7.7/v1", True),
        ("http://[fd00::1]/v1", True),
        ("http://judge.models.svc:8000/v1", True),
        ("http://judge.models.svc.cluster.local/v1", True),
        ("http://judge.models.svc.cluster.local./v1", True),
        ("https://api.example.org/v1", False),
        ("http://judge/v1", False),
        ("http://8.8.8.8/v1", False),
        ("http://0.0.0.0/v1", False),
        ("http://127.1.example.org/v1", False),
        ("http://172.32.0.1/v1", False),
        ("http://172.20.0.1/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://[2001:db8::1]/v1", False),
        ("http://localhost.example.org/v1", False),
        ("http://svc/v1", False),
        ("http://10.1.2.3.example.org/v1", False),
    ],
)
def test_which_endpoints_keep_notes_inside(endpoint: str, inside: bool) -> None:
    content = quickstart()
    content["spec"]["reward"] = {"weights": {"judge": 0.1}, "judge": {"endpoint": endpoint, "name": "judge"}}
    if inside:
        parse(content, "run.yaml")
    else:
        with pytest.raises(UserError, match="is not on this machine"):
            parse(content, "run.yaml")


def test_the_address_of_an_endpoint_leaves_out_its_path() -> None:
    assert endpoint_address("https://judge.models.svc/openai/v1") == Address("judge.models.svc", 443)


def test_more_completions_a_step_than_can_wait_are_refused() -> None:
    content = quickstart()
    content["spec"]["reward"] = {"weights": {"judge": 0.1}, "judge": ENDPOINT}
    grpo = {"trainBatchSize": 128, "ppoMiniBatchSize": 128, "microBatchSizePerGpu": 16, "rollouts": 8}
    content["spec"]["stages"]["grpo"] |= grpo
    with pytest.raises(UserError, match=r"reward\.judge: judges at most 960 completions per step"):
        parse(content, "run.yaml")
    del content["spec"]["reward"]
    parse(content, "run.yaml")


COLOCATED = {"model": "/models/judge", "placement": "colocated"}


def test_a_colocated_judge_has_no_gpus_and_no_limit_of_its_own() -> None:
    content = quickstart()
    second = {"model": "/models/another", "gpus": 2}
    content["spec"]["reward"] = {"weights": {"judge": 0.1}, "judge": {**COLOCATED, "second": second}}
    grpo = {"trainBatchSize": 128, "ppoMiniBatchSize": 128, "microBatchSizePerGpu": 16, "rollouts": 8}
    content["spec"]["stages"]["grpo"] |= grpo
    assert parse(content, "run.yaml").spec.judge_gpus == 2
    content["spec"]["stages"]["grpo"]["dropGroupsWithoutVariance"] = True
    with pytest.raises(UserError, match=r"reward\.judge\.placement: a colocated judge is asked when all groups"):
        parse(content, "run.yaml")


def test_the_copies_of_a_colocated_judge_fill_the_gpus() -> None:
    with pytest.raises(UserError, match=r"reward\.judge\.gpus: a colocated judge has as many copies as fit into compute\.gpus"):
        run({**COLOCATED, "gpus": 2})
    content = quickstart()
    content["spec"] |= {"reward": {"weights": {"judge": 0.1}, "judge": {**COLOCATED, "gpus": 2}}, "compute": {"gpus": 4}}
    for stage in ("sft", "grpo"):
        content["spec"]["stages"][stage]["microBatchSizePerGpu"] = 1
    assert parse(content, "run.yaml").spec.judge_gpus == 0


def test_the_runs_own_server_is_for_one_node() -> None:
    with pytest.raises(UserError, match=r"reward\.judge\.model: its server runs on one node"):
        run({"model": "/models/judge"}, nodes=2, scratch={"storageClass": "shared"})


SECOND = {"endpoint": "http://127.0.0.1:8001/v1", "name": "another"}


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        ({**ENDPOINT, "second": {**SECOND, "name": "judge"}}, "spec.reward.judge.second: is the model of the judge itself"),
        ({"model": "/m", "second": {"model": "/m"}}, "spec.reward.judge.second: is the model of the judge itself"),
        ({**ENDPOINT, "second": {}}, "spec.reward.judge.second: give exactly one of model, endpoint"),
        ({**ENDPOINT, "second": {"endpoint": "http://127.0.0.1:8001/v1"}}, "spec.reward.judge.second.name: is missing"),
        ({**ENDPOINT, "second": FAR | {"name": "x"}}, "spec.reward.judge.second.endpoint: is not on this machine"),
        ({**ENDPOINT, "second": {**SECOND, "rubric": "mine.yaml"}}, "spec.reward.judge.second"),
    ],
)
def test_a_mistake_in_the_second_judge_is_named(judge: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        run(judge)
    assert says in str(error.value)


def test_a_second_judge_has_gpus_of_its_own_and_is_part_of_the_run() -> None:
    one, two = run({"model": "/m", "gpus": 2}).spec, run({"model": "/m", "gpus": 2, "second": {"model": "/n"}}).spec
    assert (one.judge_gpus, two.judge_gpus) == (2, 3)
    assert "second" not in one.decisive["reward"]["judge"]
    assert two.decisive["reward"]["judge"]["second"]["model"] == "/n"
    with pytest.raises(UserError, match=r"reward\.judge\.second\.model: its server runs on one node"):
        run({**ENDPOINT, "second": {"model": "/n"}}, nodes=2, scratch={"storageClass": "shared"})


def test_a_run_without_a_judge_is_that_of_an_earlier_version() -> None:
    assert "judge" not in parse(quickstart(), "run.yaml").spec.decisive["reward"]


def test_how_failures_are_treated_may_change() -> None:
    before, after = run(ENDPOINT), run({**ENDPOINT, "onFailure": "fail", "timeout": "5s", "maxFailures": 0.5})
    assert before.spec.decisive == after.spec.decisive
    assert before.spec.decisive != run({**ENDPOINT, "rubric": "mine.yaml"}).spec.decisive
