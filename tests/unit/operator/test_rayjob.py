from __future__ import annotations

import subprocess
from pathlib import Path

from tests.unit.operator.attempts import SEVERAL, made, ray_nodes


def test_several_nodes_make_a_ray_job_with_gpus_on_every_node() -> None:
    spec = made("RayJob", **SEVERAL, compute__gpuResource="example.org/half-gpu", compute__cpu=8)["spec"]
    head, workers = spec["rayClusterSpec"]["headGroupSpec"], spec["rayClusterSpec"]["workerGroupSpecs"][0]
    assert (workers["replicas"], spec["backoffLimit"], spec["submissionMode"]) == (2, 0, "HTTPMode")
    for group in (head, workers):
        assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["example.org/half-gpu"] == "1"
        # KubeRay could not derive verl's requests to Ray from a resource of that name or from 8 cores.
        assert (group["rayStartParams"]["num-gpus"], group["rayStartParams"]["num-cpus"]) == ("1", "20")


def test_ray_runs_the_command_and_deepicd_run_uploads() -> None:
    spec = made("RayJob", **SEVERAL)["spec"]
    assert "exec deepicd run /etc/deepicd/run.yaml --dir /scratch/run --json" in spec["entrypoint"]
    for template in ray_nodes():
        assert "command" not in template["spec"]["containers"][0]
        assert "initContainers" not in template["spec"]
        assert "DEEPICD_SIDECAR" not in [each["name"] for each in template["spec"]["containers"][0]["env"]]


def test_a_command_that_is_submitted_twice_runs_once(tmp_path: Path) -> None:
    entrypoint: str = made("RayJob", **SEVERAL)["spec"]["entrypoint"]
    command = (
        entrypoint.replace("/scratch/run", str(tmp_path / "run")).replace("deepicd run", "echo").replace("/proc/1/fd/1", "ran")
    )
    results = [subprocess.run(command, shell=True, cwd=tmp_path, check=False).returncode for _ in range(2)]
    assert (results[0], results[1] != 0) == (0, True)
    assert (tmp_path / "ran").read_text().count("\n") == 1


def test_all_nodes_share_one_volume_and_each_has_its_own_temporary_one() -> None:
    claim = made("PersistentVolumeClaim", **SEVERAL)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    for template in ray_nodes():
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        assert volumes["scratch"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        mounted = {each["mountPath"]: each["name"] for each in template["spec"]["containers"][0]["volumeMounts"]}
        assert (mounted["/scratch"], mounted["/tmp"]) == ("scratch", "temporary")
        assert volumes["temporary"] == {"name": "temporary", "emptyDir": {}}


def test_every_node_waits_for_training_to_leave_before_it_ends() -> None:
    for template in ray_nodes():
        hook = template["spec"]["containers"][0]["lifecycle"]["preStop"]
        assert hook["exec"]["command"] == ["python", "-m", "deepicd.kubernetes.pre_stop"]


def test_a_worker_that_waits_for_the_head_can_be_stopped() -> None:
    head, worker = (template["spec"] for template in ray_nodes())
    assert worker["shareProcessNamespace"] is True
    assert "shareProcessNamespace" not in head  # the command writes to the output of process 1


def test_probes_of_the_patch_stay() -> None:
    probe = {"tcpSocket": {"port": 1}}
    patch = {"spec": {"containers": [{"name": "trainer", "livenessProbe": probe}]}}
    for template in ray_nodes(compute__podTemplatePatch=patch):
        assert template["spec"]["containers"][0]["livenessProbe"] == probe
        assert template["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/api/healthz"
