"""The process of the stage, on a synthetic cohort with a canary in its notes, and a server that is there for it alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deepicd.data import mimic, sources
from deepicd.distill.answers import FILE, Answers
from deepicd.distill.later_parts import LaterParts
from deepicd.distill.plan import DistillPlan
from deepicd.prompt import DEEPICD
from deepicd.spec.data import SplitSpec
from tests.judge_stub import MODEL, Reply, Stub, stub
from tests.teacher_stub import good, reply
from tests.training.runs import CANARY, write_tables_with_canary

NUMBER = 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill")
    write_tables_with_canary(folder, admissions=100)
    mimic.extract(folder / "hosp", folder / "note", folder / "cohort", SplitSpec())
    return folder


def plan(home: Path, folder: Path, server: Stub, **fields: Any) -> DistillPlan:
    folder.mkdir(exist_ok=True)
    teacher = {"endpoint": server.url, "name": MODEL, "timeout": "5s", "concurrency": 4, **fields.pop("teacher", {})}
    settings = {"teacher": teacher, "maxAdmissions": NUMBER, "samples": 2, "filters": {"similarity": 1, "copied": 1}, **fields}
    return DistillPlan(
        settings=settings, identity="identity", own_prompt=None, seed=1, prompts=str(home / "cohort" / "train.parquet"),
        student_prompt=asdict(DEEPICD), cohort=str(home / "cohort"), notes=None, discharge=str(home / "note"), english=True,
        answers=str(folder / "teacher"), later=str(folder / "later.sqlite"), traces=str(folder / "traces.jsonl"),
        counts=str(folder / "distill.json"), progress=str(folder / "launch-0001.jsonl"), total=str(folder / "total"),
        phases=str(folder / "phases.jsonl"), failure=str(folder / "failure.json"),
    )  # fmt: skip


def start(one: DistillPlan, folder: Path) -> subprocess.Popen[str]:
    path = folder / "plan.json"
    path.write_text(one.to_json())
    return subprocess.Popen(
        [sys.executable, "-m", "deepicd.distill.main", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(one: DistillPlan, folder: Path) -> tuple[int, str]:
    process = start(one, folder)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def traces(folder: Path) -> dict[str, str]:
    lines = (folder / "traces.jsonl").read_text().splitlines()
    return {row["id"]: row["trace"] for row in map(json.loads, lines)}


def test_traces_and_counts_are_written_for_the_first_admissions(home: Path, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: reply(good(prompts[0]))
        code, output = finished(plan(home, tmp_path, server, teacher={"prices": {"prompt": 1, "completion": 4}}), tmp_path)
    assert code == 0, output
    ids = [row["id"] for row in pq.read_table(home / "cohort" / "train.parquet", columns=["id"]).slice(0, NUMBER).to_pylist()]
    counts = json.loads((tmp_path / "distill.json").read_text())
    assert list(traces(tmp_path)) == [one for one in ids if one in traces(tmp_path)]
    assert counts["traces"] == len(traces(tmp_path)) >= NUMBER * 0.9
    assert counts["admissions"] == NUMBER
    assert counts["answers"] == counts["traces"] + sum(counts["rejected"].values())
    assert counts["tokens"] == {"prompt": 100 * counts["answers"], "completion": 50 * counts["answers"]}
    assert counts["cost"] == pytest.approx(counts["answers"] * 300 / 1e6)
    assert counts["laterParts"] == "compared"
    assert not (tmp_path / "later.sqlite").exists()
    row = json.loads((tmp_path / "launch-0001.jsonl").read_text().splitlines()[-1])
    assert row["step"] == NUMBER
    assert row["data"]["distill/cost"] == counts["cost"]


def test_a_killed_process_pays_for_no_answer_twice_and_leaves_nothing_half_written(home: Path, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: reply(good(prompts[0]))
        whole = tmp_path / "whole"
        assert finished(plan(home, whole, server), whole)[0] == 0
        all_asked = len(server.chats)
        server.requests.clear()

        def slow(prompts: list[str]) -> Reply:
            time.sleep(0.05)
            return reply(good(prompts[0]))

        server.always = slow
        folder = tmp_path / "killed"
        for launch in range(3):
            one = plan(home, folder, server)
            process = start(one, folder)
            kept = folder / "teacher" / FILE
            before = kept.stat().st_size if kept.exists() else 0
            deadline = time.monotonic() + 60
            while (not kept.exists() or kept.stat().st_size < before + 2000) and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert not (folder / "traces.jsonl").exists(), launch
            with kept.open("ab") as file:
                file.write(b'{"key": "half a li')
        in_flight = 3 * 4
        code, output = finished(plan(home, folder, server), folder)
        assert code == 0, output
        assert all_asked <= len(server.chats) <= all_asked + in_flight
    assert traces(folder) == traces(whole)
    counted = [json.loads((place / "distill.json").read_text()) for place in (folder, whole)]
    assert counted[0]["tokens"] == counted[1]["tokens"]


def test_a_failure_is_one_line_with_its_code_and_without_note_text(home: Path, tmp_path: Path) -> None:
    with stub() as server:
        pass
    code, output = finished(plan(home, tmp_path, server), tmp_path)
    assert code == 75
    assert output.strip() == (
        "stages.distill.teacher: its server does not answer (unreachable): start it, or correct the endpoint"
    )
    assert json.loads((tmp_path / "failure.json").read_text()) == {"message": output.strip(), "code": "TeacherUnreachable"}


def test_a_full_disk_is_one_line_and_what_arrived_is_kept(home: Path, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: reply(good(prompts[0]))
        one = DistillPlan(**{**asdict(plan(home, tmp_path, server)), "discharge": None})
        (tmp_path / "plan.json").write_text(one.to_json())
        command = f"ulimit -f 6; exec {sys.executable} -m deepicd.distill.main {tmp_path / 'plan.json'}"
        full = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
        arrived = len(Answers(tmp_path / "teacher"))
        asked = len(server.chats)
        assert 0 < arrived < NUMBER
        code, output = finished(one, tmp_path)
        assert len(server.chats) - asked <= NUMBER * 2 - arrived
    assert full.returncode == 64
    assert full.stderr == (
        f"{tmp_path}: cannot be written or read (File too large): free space or correct the rights, then run again: "
        "the answers so far are kept\n"
    )
    assert (code, len(traces(tmp_path)) > arrived) == (0, True), output


def test_a_trace_with_half_a_character_is_written(home: Path, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: reply(good(prompts[0]).replace("Another", "\ud800 Another"))
        code, output = finished(plan(home, tmp_path, server, maxAdmissions=3), tmp_path)
    assert code == 0, output
    assert all("? Another" in trace for trace in traces(tmp_path).values())


def test_a_teacher_without_any_answer_is_one_line(home: Path, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: Reply(404, prompts[0].encode())
        code, output = finished(plan(home, tmp_path, server, maxAdmissions=3), tmp_path)
    assert code == 64
    assert output.strip() == (
        "stages.distill.teacher: none of 3 requests has an answer: refused: use a server with the OpenAI API that takes these "
        "requests, such as vLLM"
    )


def test_no_note_text_is_in_output_progress_counts_or_errors(home: Path, tmp_path: Path) -> None:
    def echoing(prompts: list[str]) -> Reply:
        """Quotes the note wherever it can."""
        assert CANARY in prompts[0]
        return Reply(400, prompts[0].encode()) if len(prompts[0]) % 2 else reply(good(prompts[0]))

    with stub() as server:
        server.always = echoing
        _, output = finished(plan(home, tmp_path, server), tmp_path)
        server.always = lambda prompts: Reply(400, prompts[0].encode())
        other = tmp_path / "other"
        code, refused = finished(plan(home, other, server), other)
    assert code == 64
    assert "the last 32 requests have no answer: refused" in refused
    texts = [output, refused]
    for folder in (tmp_path, other):
        texts += [path.read_text() for path in folder.glob("*.json*") if path.name != "traces.jsonl"]
    assert len(texts) >= 8
    assert all(CANARY not in text for text in texts)
    assert CANARY in (tmp_path / "teacher" / FILE).read_text(), "the test must have a canary to find"


def test_findings_of_the_later_part_are_known_by_the_cohorts_cut(home: Path, tmp_path: Path) -> None:
    parts = {one: (earlier, later) for one, earlier, later in sources.parts(home / "cohort", "train", home / "note", tmp_path)}
    assert len(parts) == pq.ParquetFile(home / "cohort" / "train.parquet").metadata.num_rows
    for earlier, later in parts.values():
        assert "History of Present" in earlier or "HPI" in earlier or "HISTORY OF PRES" in earlier
        assert "Discharge Diagnosis" in later
        assert "Discharge Diagnosis" not in earlier


def test_a_prepared_cohort_has_no_later_parts_to_compare_with(home: Path, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: reply(good(prompts[0]))
        one = plan(home, tmp_path, server, maxAdmissions=3)
        assert finished(DistillPlan(**{**asdict(one), "discharge": None}), tmp_path)[0] == 0
    assert json.loads((tmp_path / "distill.json").read_text())["laterParts"] == "unknown"
    with LaterParts(None) as none:
        assert not none.of("1").words
