"""`deepicd submit`, `status`, `wait`, `cancel`, `resume` and a pod's own reports, on a real API server."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from deepicd.errors import DeepICDError, UserError
from deepicd.kubernetes.attempt_config_map import ProgressReport, send_to
from deepicd.spec.progress import CHECKPOINT_KEY, PROGRESS_KEY, Checkpoint, write
from deepicd.training.step_metrics import StepMetrics
from tests.cluster.api import Api, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fault_proxy import Fault, FaultProxy
from tests.cluster.operated import quickstart, run_of, running_pod, wait_for_state
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import end_pod
from tests.cluster.runs import SAMPLES

pytestmark = pytest.mark.usefixtures("run_definition")
SAMPLE = next(path for path in SAMPLES if path.stem == "quickstart")
Deepicd = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def deepicd(cluster: ControlPlane, namespace: str) -> Deepicd:
    """The command, in the test's namespace."""
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "COLUMNS": "120"}

    def act(*arguments: str, within: float = 240) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from deepicd.cli.main import app; app()", *arguments, "--namespace", namespace]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=within, check=False)

    return act


@pytest.fixture
def as_pod(cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a process with the rights of the first attempt's pod."""
    account = f"system:serviceaccount:{namespace}:quickstart-trainer"
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig_of(account)))
    return {"DEEPICD_PROGRESS": "quickstart-a1-progress", "DEEPICD_NAMESPACE": namespace}


def test_a_submitted_run_is_waited_for_until_it_has_succeeded(
    api: Api, namespace: str, operator: OperatorProcess, deepicd: Deepicd
) -> None:
    done = deepicd("submit", str(SAMPLE))
    assert (done.returncode, done.stderr) == (0, "")
    pod = running_pod(api, namespace)
    wait_for_state(api, namespace, "Running")
    assert "Running" in deepicd("status").stdout
    end_pod(api, pod)
    waited = deepicd("wait", "quickstart", "--timeout", "1m")
    assert (waited.returncode, waited.stderr) == (0, "")
    assert waited.stdout.splitlines()[-1].startswith("Succeeded (Completed)")


def test_submitting_again_changes_the_run(api: Api, namespace: str, deepicd: Deepicd, tmp_path: Path) -> None:
    assert deepicd("submit", str(SAMPLE)).returncode == 0
    changed = tmp_path / "run.yaml"
    changed.write_text(SAMPLE.read_text() + "  suspend: true\n")
    assert deepicd("submit", str(changed)).returncode == 0
    assert run_of(api, namespace)["spec"]["suspend"] is True


def test_a_failed_run_is_submitted_again_with_a_change_that_it_may_have(
    api: Api, namespace: str, operator: OperatorProcess, deepicd: Deepicd, tmp_path: Path
) -> None:
    def submit(old: str, new: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "run.yaml"
        file.write_text(SAMPLE.read_text().replace(old, new))
        return deepicd("submit", str(file))

    assert submit("", "").returncode == 0
    end_pod(api, running_pod(api, namespace), 64)
    wait_for_state(api, namespace, "Failed")
    unchanged = submit("", "")
    assert (unchanged.returncode, "the file changes nothing" in unchanged.stderr) == (64, True)
    other = submit("maxSteps: 24", "maxSteps: 25")
    assert (other.returncode, "cannot change once the run has started" in other.stderr) == (64, True)
    smaller = submit("microBatchSizePerGpu: 16", "microBatchSizePerGpu: 8")
    assert (smaller.returncode, smaller.stderr, "attempt 2 follows" in smaller.stdout) == (0, "", True)


def test_a_prompt_file_is_submitted_as_its_texts(api: Api, namespace: str, deepicd: Deepicd, tmp_path: Path) -> None:
    texts = {"system": "Use <think>.", "user": "Name the code in <diagnosis> {of the note}: {note}"}
    (tmp_path / "prompt.yaml").write_text(json.dumps(texts))
    content = yaml.safe_load(SAMPLE.read_text())
    content["spec"]["model"]["prompt"] = {"file": "prompt.yaml"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    submitted = deepicd("submit", str(tmp_path / "run.yaml"))
    assert submitted.returncode == 0, submitted.stderr
    assert run_of(api, namespace)["spec"]["model"]["prompt"] == texts


def test_a_failed_run_ends_the_wait_with_its_exit_code_and_its_message(
    api: Api, namespace: str, operator: OperatorProcess, deepicd: Deepicd
) -> None:
    api.create(quickstart(namespace))
    failure = json.dumps({"code": "BadInput", "message": "spec.model.path: is no model: give a folder"})
    end_pod(api, running_pod(api, namespace), 64, termination_log=failure)
    waited = deepicd("wait", "quickstart")
    assert waited.returncode == 64
    (line,) = waited.stderr.splitlines()
    assert line.startswith("error: run quickstart: BadInput: ")
    assert "spec.model.path: is no model" in line


def test_a_wait_that_takes_too_long_is_no_failure_of_the_run(namespace: str, api: Api, deepicd: Deepicd) -> None:
    api.create(quickstart(namespace))
    waited = deepicd("wait", "quickstart", "--timeout", "1s")
    assert waited.returncode == 75
    assert "has not ended within --timeout" in waited.stderr


def test_a_cancelled_run_stops_and_continues_when_it_is_resumed(
    api: Api, namespace: str, operator: OperatorProcess, deepicd: Deepicd
) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    assert deepicd("cancel", "quickstart").returncode == 0
    wait_for_state(api, namespace, "Suspended")
    assert deepicd("resume", "quickstart").returncode == 0
    running_pod(api, namespace, attempt=2)
    again = deepicd("resume", "quickstart")
    assert (again.returncode, "is not suspended" in again.stderr) == (64, True)


def test_a_run_is_deleted_on_request_only(api: Api, namespace: str, deepicd: Deepicd) -> None:
    api.create(quickstart(namespace))
    assert deepicd("cancel", "quickstart", "--delete").returncode == 0
    assert api.list("DeepICDRun", namespace) == []
    missing = deepicd("status", "quickstart")
    assert missing.returncode == 64
    assert missing.stderr.startswith("error: run quickstart in namespace ")


def test_a_forbidden_command_reports_which_right_is_missing(cluster: ControlPlane, namespace: str) -> None:
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig_of("nobody"))}
    command = [sys.executable, "-c", "from deepicd.cli.main import app; app()", "status", "-n", namespace]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 64
    assert "not allowed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Set a timeout of a second, then run the command.
HASTY = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"  # background commands of a shell ignore it
    "import deepicd.kubernetes.api as api; api.REQUEST_SECONDS = 1.0; from deepicd.cli.main import app; app()"
)


def read_until(terminal: int, pattern: str) -> str:
    """Return what a terminal shows until the text appears."""
    text = ""
    while not re.search(pattern, text, re.DOTALL):
        text += os.read(terminal, 4096).decode()
    return text


@pytest.mark.timeout(120)
def test_a_watch_survives_a_time_out_of_the_api_server_and_ends_on_ctrl_c(
    cluster: ControlPlane, api: Api, namespace: str, proxy: FaultProxy
) -> None:
    api.create(quickstart(namespace))
    kubeconfig = cluster.kubeconfig_of("watcher", "system:masters", server=proxy.server)
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "COLUMNS": "100", "LINES": "24", "TERM": "xterm"}
    terminal, ours = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", HASTY, "status", "--watch", "--namespace", namespace],
        env=environment, stdin=ours, stdout=ours, stderr=ours, start_new_session=True,
    )  # fmt: skip
    os.close(ours)
    try:
        read_until(terminal, "NAME.*quickstart")
        proxy.fail(Fault(when=lambda call: call.resource == "deepicdruns", delay=3))
        assert "Traceback" not in read_until(terminal, "timed out.*still trying.*quickstart.*NAME.*quickstart")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_a_run_that_waits_for_its_pod_has_no_log(api: Api, namespace: str, deepicd: Deepicd) -> None:
    api.create(quickstart(namespace))
    done = deepicd("logs", "quickstart")
    assert done.returncode == 64
    assert "has no pod" in done.stderr


def test_a_pod_reports_with_its_own_rights_and_the_status_follows(
    api: Api, namespace: str, operator: OperatorProcess, as_pod: dict[str, str], tmp_path: Path
) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    wait_for_state(api, namespace, "Running")
    progress, stored = send_to(PROGRESS_KEY, as_pod), send_to(CHECKPOINT_KEY, as_pod)
    assert progress is not None
    assert stored is not None
    uri = f"s3://models/quickstart/{namespace}/attempts/1/checkpoints/step-000010"
    checkpoint = write(Checkpoint(stage="grpo", step=10, uri=uri, sha256="a" * 64, time=datetime.now(UTC)))

    def allowed() -> bool:
        try:
            stored(checkpoint)
        except DeepICDError:
            return False
        return True

    # The pod may run before it has the right to report.
    wait_for(allowed, 20, "it may not report")
    with ProgressReport(progress, tmp_path, interval=0) as report:
        report.stage_started("grpo")
        report.step("grpo", StepMetrics(12, reward=0.414, kl=0.0123), 15, 33000.0)

    def status() -> bool:
        found = run_of(api, namespace)["status"]
        return found.get("step") == 12 and (found.get("lastVerifiedCheckpoint") or {}).get("uri") == uri

    assert wait_for(status, 20, lambda: run_of(api, namespace)["status"])


def test_a_pod_may_write_no_other_attempts_report(
    api: Api, namespace: str, operator: OperatorProcess, as_pod: dict[str, str]
) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    other = send_to(PROGRESS_KEY, {**as_pod, "DEEPICD_PROGRESS": "quickstart-a2-progress"})
    assert other is not None
    with pytest.raises(UserError, match="not allowed"):
        other("{}")


def test_reports_survive_an_api_server_that_cannot_answer(
    cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess, as_pod: dict[str, str], tmp_path: Path
) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    send = send_to(PROGRESS_KEY, as_pod)
    assert send is not None

    def reported() -> bool:
        return PROGRESS_KEY in (api.get("ConfigMap", "quickstart-a1-progress", namespace).get("data") or {})

    with ProgressReport(send, tmp_path, interval=0.5) as report:
        with cluster.api_server_down():
            report.step("grpo", StepMetrics(1, reward=0.1), 15, None)
        assert wait_for(reported, 30, "nothing was reported")
