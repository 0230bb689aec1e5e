"""Runs of MLflow, on a stand-in of its server; `make test-long` repeats them on MLflow itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepicd.run.mlflow import MlflowRun, RefusedError, TrackerError, Value
from deepicd.spec.tracking import MlflowSpec
from tests.mlflow_server import StandIn, mlflow_server, raw_server, read, stand_in, write


@pytest.fixture(scope="module", params=["stand-in", pytest.param("mlflow", marks=pytest.mark.long)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server."""
    if request.param == "mlflow":
        with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
            yield address
    else:
        with stand_in() as (address, _):
            yield address


def run_of(address: str, experiment: str, file: Path, **environment: str) -> MlflowRun:
    return MlflowRun(MlflowSpec(uri=address, experiment=experiment), file, environment)


def id_in(file: Path) -> str:
    return str(json.loads(file.read_text())["run"])


def test_a_run_has_its_parameters_values_and_end(server: str, tmp_path: Path) -> None:
    run = run_of(server, "ends", tmp_path / "id")
    run.open("quick", None, {"stages.grpo.loss": "gspo", "seed": "42", "long": "x" * 2000})
    run.log([Value("grpo/reward", 0.25, 1, 1e9), Value("grpo/reward", 0.5, 2, 1e9 + 1.5)])
    run.end("FINISHED")
    found = read(server, "runs/get", run_id=id_in(tmp_path / "id"))["run"]
    assert (found["info"]["run_name"], found["info"]["status"]) == ("quick", "FINISHED")
    assert {each["key"]: each["value"] for each in found["data"]["params"]} == {
        "stages.grpo.loss": "gspo",
        "seed": "42",
        "long": "x" * 500,
    }
    history = read(server, "metrics/get-history", run_id=id_in(tmp_path / "id"), metric_key="grpo/reward")["metrics"]
    assert [(row["step"], row["value"], row["timestamp"]) for row in history] == [
        (1, 0.25, 1000000000000),
        (2, 0.5, 1000000001500),
    ]


def test_a_later_launch_continues_the_run_of_its_folder(server: str, tmp_path: Path) -> None:
    first = run_of(server, "resumed", tmp_path / "id")
    first.open("quick", None, {"seed": "1"})
    first.end("KILLED")
    before = id_in(tmp_path / "id")
    run_of(server, "resumed", tmp_path / "id").open("quick", None, {"seed": "2"})
    assert id_in(tmp_path / "id") == before
    assert read(server, "runs/get", run_id=before)["run"]["info"]["status"] == "RUNNING"


def test_another_machine_continues_the_run_by_its_identity(server: str, tmp_path: Path) -> None:
    for name, identity in (("first", "quick/abc"), ("second", "quick/abc"), ("other", "quick/def")):
        run_of(server, "moved", tmp_path / name).open("quick", identity, {})
    first, second, other = (id_in(tmp_path / name) for name in ("first", "second", "other"))
    assert first == second != other


def test_two_folders_without_an_identity_are_two_runs(server: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        run_of(server, "apart", tmp_path / name).open("quick", None, {})
    assert id_in(tmp_path / "first") != id_in(tmp_path / "second")


def test_an_id_that_the_server_has_lost_is_replaced(server: str, tmp_path: Path) -> None:
    run_of(server, "lost", tmp_path / "id").open("quick", None, {})
    place = json.loads((tmp_path / "id").read_text())
    (tmp_path / "id").write_text(json.dumps({**place, "run": "0" * 32}))
    run_of(server, "lost", tmp_path / "id").open("quick", None, {})
    assert id_in(tmp_path / "id") != "0" * 32


def test_a_run_that_was_deleted_there_is_replaced(server: str, tmp_path: Path) -> None:
    run_of(server, "deleted", tmp_path / "id").open("quick", "quick/abc", {})
    before = id_in(tmp_path / "id")
    write(server, "runs/delete", run_id=before)
    again = run_of(server, "deleted", tmp_path / "id")
    again.open("quick", "quick/abc", {})
    again.log([Value("grpo/reward", 0.5, 1, 1e9)])
    assert id_in(tmp_path / "id") != before


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"uri": 1'])
def test_a_damaged_id_is_replaced(content: str, server: str, tmp_path: Path) -> None:
    (tmp_path / "id").write_text(content)
    run_of(server, "damaged", tmp_path / "id").open("quick", None, {})
    assert id_in(tmp_path / "id")


@pytest.fixture
def failing() -> Iterator[tuple[str, StandIn]]:
    with stand_in() as (address, served):
        yield address, served


@pytest.mark.parametrize(
    ("status", "passing", "message"),
    [
        (401, False, "refuses the credentials (status 401): set MLFLOW_TRACKING_TOKEN"),
        (400, False, "refuses what was sent (status 400)"),
        (429, True, "fails (status 429)"),
        (503, True, "fails (status 503)"),
    ],
)
def test_a_refusal_says_whether_it_may_pass(
    status: int, passing: bool, message: str, failing: tuple[str, StandIn], tmp_path: Path
) -> None:
    address, served = failing
    served.failure = status
    with pytest.raises(TrackerError) as error:
        run_of(address, "e", tmp_path / "id").open("quick", None, {})
    assert message in str(error.value)
    assert error.value.passing is passing


def test_a_server_that_is_not_there_may_come(tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match=r"does not answer \(ConnectionRefusedError\)") as error:
        run_of("http://127.0.0.1:1", "e", tmp_path / "id").open("quick", None, {})
    assert error.value.passing


def test_an_address_that_is_not_mlflows_is_refused(failing: tuple[str, StandIn], tmp_path: Path) -> None:
    address, served = failing
    served.failure = 404
    with pytest.raises(RefusedError, match="has no such address"):
        run_of(address, "e", tmp_path / "id").open("quick", "x", {})


def test_a_run_is_created_once_though_its_parameters_fail_at_first(failing: tuple[str, StandIn], tmp_path: Path) -> None:
    address, served = failing
    run = run_of(address, "e", tmp_path / "id")
    served.failure, served.fails_at = 503, "runs/log-batch"
    with pytest.raises(TrackerError):
        run.open("quick", None, {"seed": "42"})
    served.failure = None
    run.open("quick", None, {"seed": "42"})
    [made] = served.runs.values()
    assert made["data"]["params"] == [{"key": "seed", "value": "42"}]


def test_a_folder_that_takes_no_id_is_reported(failing: tuple[str, StandIn], tmp_path: Path) -> None:
    (tmp_path / "id").mkdir()
    with pytest.raises(TrackerError, match="make the run's folder writable"):
        run_of(failing[0], "e", tmp_path / "id").open("quick", None, {})


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b'HTTP/1.1 200 OK\r\n\r\n{"experiment": 7}',
        b"HTTP/1.1 200 OK\r\n\r\n[]",
    ],
)
def test_a_damaged_answer_is_reported(answer: bytes, tmp_path: Path) -> None:
    with raw_server(answer) as (address, _), pytest.raises(TrackerError, match=r"does not answer"):
        run_of(address, "e", tmp_path / "id").open("quick", None, {})


def test_credentials_do_not_follow_a_redirect(tmp_path: Path) -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\n\r\n{}") as (other, requests):
        answer = f"HTTP/1.1 302 Found\r\nLocation: {other}/login\r\nContent-Length: 0\r\n\r\n".encode()
        with raw_server(answer) as (address, _), pytest.raises(RefusedError, match=r"redirects \(status 302\)"):
            run_of(address, "e", tmp_path / "id", MLFLOW_TRACKING_TOKEN="secret").open("quick", None, {})
    assert requests == []


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "secret"}, "Authorization: Bearer secret"),
        ({"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "pw"}, "Authorization: Basic bWU6cHc="),
    ],
)
def test_credentials_come_from_the_environment(
    environment: dict[str, str], header: str, failing: tuple[str, StandIn], tmp_path: Path
) -> None:
    address, served = failing
    run_of(address, "e", tmp_path / "id", **environment).open("quick", None, {})
    assert all(header in request for request in served.requests)
    assert "secret" not in (tmp_path / "id").read_text()
