from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from deepicd import endpoint
from deepicd.cli.judge import judge
from deepicd.cli.reward import reward
from deepicd.errors import JudgeError, UserError
from tests.judge_stub import MODEL, Reply, Stub, criteria, stub

CANARY = "zanzibarcanary"
JUDGE, REWARD = typer.Typer(), typer.Typer()
JUDGE.command()(judge)
REWARD.command()(reward)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT", 0.01)


def line(
    identity: int, trace: str = "Leg pain fits a disc.", note: str | None = f"{CANARY} leg pain", gold: str = "M5116"
) -> str:
    fields = {"id": identity, "completion": f"{trace}</think><diagnosis>M5116</diagnosis>", "gold": gold, "note": note}
    return json.dumps(fields)


def run(server: Stub, *options: str, lines: list[str]) -> Result:
    arguments = ["--endpoint", server.url, "--name", MODEL, *options]
    return CliRunner().invoke(JUDGE, arguments, input="\n".join(lines), catch_exceptions=False)


def good(prompt: str) -> str:
    """Good answers to reasoning with `Good` in it."""
    names = criteria(prompt)
    negative = {"invents_findings", "knows_later_facts", "refers_to_task"}
    return json.dumps({name: (name not in negative) == ("Good" in prompt) for name in names})


def test_each_line_gets_its_verdict_in_order() -> None:
    with stub(good) as server:
        done = run(server, lines=[line(1, "Good."), line(2, "Other."), line(3, "Good.", note=None)])
        rows = [json.loads(row) for row in done.stdout.splitlines()]
        assert len(server.chats) == 1
    assert [(row["id"], row["judge"]) for row in rows] == [(1, 1), (2, 0), (3, None)]
    assert rows[0]["verdict"]["cites_findings"] is True
    assert rows[2]["verdict"] is None


def test_agreement_with_experts_is_kappa_by_criterion(tmp_path: Path) -> None:
    experts = tmp_path / "experts.jsonl"
    answers = [(1, True), (2, False), (3, False), (4, True)]
    experts.write_text("\n".join(json.dumps({"id": one, "verdict": {"cites_findings": said}}) for one, said in answers))
    with stub(good) as server:
        done = run(
            server, "--verdicts", str(experts), lines=[line(1, "Good."), line(2), line(3, "Good 3."), line(4, "Good 4.")]
        )
    assert "cites_findings: kappa 0.50, 0.75 of 4 answers agree" in done.stderr.splitlines()
    assert "weighs_rival: no answer of both judge and experts" in done.stderr.splitlines()


def test_a_kappa_that_is_undefined_says_why(tmp_path: Path) -> None:
    experts = tmp_path / "experts.jsonl"
    experts.write_text("\n".join(json.dumps({"id": one, "verdict": {"cites_findings": True}}) for one in (1, 2)))
    with stub(good) as server:
        done = run(server, "--verdicts", str(experts), lines=[line(1, "Good."), line(2, "Good 2.")])
    wanted = "cites_findings: kappa undefined (both gave the same answer throughout), 1.00 of 2 answers agree"
    assert wanted in done.stderr.splitlines()


def test_completions_of_one_id_are_not_compared_with_its_expert(tmp_path: Path) -> None:
    (tmp_path / "experts.jsonl").write_text('{"id": 1, "verdict": {"cites_findings": true}}')
    with stub(good) as server, pytest.raises(UserError, match="id 1: occurs twice"):
        run(server, "--verdicts", str(tmp_path / "experts.jsonl"), lines=[line(1, "Good."), line(1)])


@pytest.mark.parametrize("lines", [[], ["", "  "]])
def test_an_empty_input_is_named(lines: list[str]) -> None:
    with stub(good) as server, pytest.raises(UserError, match="has no completion"):
        run(server, lines=lines)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("x", "line 1: is not JSON"),
        ('{"id": 1}', "line 1: has no id or no verdict"),
        ('{"id": 1, "verdict": {"other": true}}', "has an unknown criterion"),
        ('{"id": 1, "verdict": {"cites_findings": "yes"}}', "verdict.cites_findings: is neither true nor false"),
        ("", "has no verdicts"),
        ('{"id": 1, "verdict": {}}\n{"id": "1", "verdict": {}}', "line 2: id: already has a verdict"),
    ],
)
def test_a_mistake_in_the_experts_file_is_named_before_anything_is_asked(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "experts.jsonl").write_text(content)
    with stub() as server, pytest.raises(UserError, match=says):
        run(server, "--verdicts", str(tmp_path / "experts.jsonl"), lines=[line(1)])
    assert server.chats == []


def test_missing_verdicts_are_counted_without_a_word_of_the_notes() -> None:
    with stub(lambda prompt: f"yes to all {CANARY}" if "odd" in prompt else good(prompt)) as server:
        done = run(server, lines=[line(1, "odd"), line(2)])
    assert json.loads(done.stdout.splitlines()[0])["judge"] is None
    assert done.stderr == "1 verdicts are missing (not_a_verdict 1)\n"
    assert CANARY not in done.output


def test_a_judge_that_is_down_is_worth_another_try() -> None:
    with stub() as server:
        pass
    with pytest.raises(JudgeError):
        run(server, lines=[line(1)])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "give --spec, or --endpoint and --name"),
        (["--endpoint", "http://127.0.0.1/v1"], "give --spec, or --endpoint and --name"),
        (["--endpoint", "https://api.example.org/v1", "--name", "x"], "say in --data-use who attests"),
        (["--endpoint", "https://api.example.org/v1", "--name", "x"], "--endpoint: is not on this machine"),
        (["--endpoint", "127.0.0.1", "--name", "x"], "--endpoint: must be an http:// or https:// address"),
        (["--endpoint", "http://127.0.0.1/v1", "--name", "x", "--timeout", "soon"], "--timeout: a duration is"),
        (["--endpoint", "http://127.0.0.1/v1", "--name", "x", "--max-failures", "1"], "--max-failures: must be less than 1"),
        (["--endpoint", "http://127.0.0.1/v1", "--name", "x", "--rubric", "none.yaml"], "none.yaml: No such file"),
        (
            ["--endpoint", "http://127.0.0.1/v1", "--name", "x", "--key-env", "NO_SUCH"],
            "--key-env: the variable NO_SUCH is not set",
        ),
    ],
)
def test_a_mistake_in_the_options_is_named(options: list[str], says: str) -> None:
    with pytest.raises(UserError) as error:
        CliRunner().invoke(JUDGE, options, input=line(1), catch_exceptions=False)
    assert says in str(error.value)


TOO_LONG, DOWN = Reply(400, b"maximum context length"), Reply(503)


@pytest.mark.parametrize(
    ("options", "models", "chats", "says"),
    [
        (["--name", "another"], None, None, "--name: the server has no model another"),
        ([], Reply(401), None, "--key-env: the server refuses it"),
        ([], Reply(302), None, "--endpoint: the server redirects"),
        ([], DOWN, None, "--endpoint: its server does not answer"),
        (["--max-failures", "0"], None, TOO_LONG, "40 of the last 40 verdicts are missing (--max-failures): too_long"),
        ([], None, TOO_LONG, "use a judge with a longer context, or shorten the notes"),
        ([], None, DOWN, "check its server, then run again"),
    ],
)
def test_an_error_of_the_judge_names_the_option(
    options: list[str], models: Reply | None, chats: Reply | None, says: str
) -> None:
    with stub() as server:
        server.models, server.always = models, lambda prompts: chats
        with pytest.raises((UserError, JudgeError)) as error:
            run(server, *options, lines=[line(number, f"Pain {number}.") for number in range(40)])
    assert says in str(error.value)
    assert "reward.judge" not in str(error.value)
    assert "resume" not in str(error.value)


def test_an_error_with_a_spec_names_its_field(tmp_path: Path) -> None:
    with stub() as server:
        server.models = DOWN
        with pytest.raises(JudgeError, match=r"^reward\.judge: its server does not answer"):
            CliRunner().invoke(JUDGE, ["--spec", spec(tmp_path / "run.yaml", server)], input=line(1), catch_exceptions=False)


def spec(path: Path, server: Stub) -> str:
    path.write_text(
        "apiVersion: deepicd.io/v1alpha1\nkind: DeepICDRun\nmetadata: {name: judged}\n"
        "spec:\n  model: {path: some/model}\n  data: {prepared: data}\n  stages: {}\n"
        f"  reward: {{weights: {{judge: 2}}, judge: {{endpoint: '{server.url}', name: {MODEL}, maxFailures: 0}}}}\n"
    )
    return str(path)


def test_a_spec_brings_its_judge(tmp_path: Path) -> None:
    with stub(good) as server:
        done = CliRunner().invoke(JUDGE, ["--spec", spec(tmp_path / "run.yaml", server)], input=line(1, "Good."))
    assert json.loads(done.stdout)["judge"] == 1


def test_reward_adds_the_judge_where_it_can_be_had(tmp_path: Path) -> None:
    lines = "\n".join([line(1, "Good."), line(2, "Other.")])
    with stub(good) as server:
        path = spec(tmp_path / "run.yaml", server)
        judged = CliRunner().invoke(REWARD, ["--spec", path], input=lines, catch_exceptions=False)
    without = CliRunner().invoke(REWARD, ["--spec", path], input=lines, catch_exceptions=False)
    first, second = map(json.loads, judged.stdout.splitlines())
    assert (first["terms"]["judge"], second["terms"]["judge"]) == (1, 0)
    for row, alone in zip((first, second), map(json.loads, without.stdout.splitlines()), strict=True):
        assert "score" not in alone
        assert row["score"] == pytest.approx(alone["score_without_judge"] + 2 * row["terms"]["judge"])
    assert "does not answer (unreachable)" in without.stderr


def test_reward_says_when_its_judge_fails_on_the_way(tmp_path: Path) -> None:
    with stub(good) as server:
        server.always = lambda prompts: Reply(503, CANARY.encode())
        done = CliRunner().invoke(
            REWARD, ["--spec", spec(tmp_path / "run.yaml", server)], input=line(1), catch_exceptions=False
        )
    assert "score_without_judge" in json.loads(done.stdout)
    assert "scores from there on are score_without_judge" in done.stderr
    assert CANARY not in done.output


@pytest.mark.parametrize("option", [("--rubric", "own.yaml"), ("--key-env", "KEY"), ("--timeout", "5m")])
def test_options_that_a_spec_would_silence_are_refused(option: tuple[str, str], tmp_path: Path) -> None:
    with stub(good) as server, pytest.raises(UserError, match=f"{option[0]}: run.yaml says that"):
        CliRunner().invoke(
            JUDGE, ["--spec", spec(tmp_path / "run.yaml", server), *option], input=line(1), catch_exceptions=False
        )
