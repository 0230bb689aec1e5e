"""Kubeflow Trainer and JobSet as a contender of `apply_to_pod.py`: their own controllers and CRDs, from Go's cache.

Their admission webhooks are left out, which saves them requests.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

if TYPE_CHECKING:
    from tests.cluster.control_plane import ControlPlane

from deepicd.kubernetes.kinds import Kind
from tests.cluster.api import KINDS, Raw, wait_for
from tests.cluster.daemon import Daemon, free_ports
from tests.cluster.pods import RUNS_FOR

SYSTEM, USER, RUNTIME = "kubeflow-system", "kubeflow", "benchmark"
CERTIFICATES = Path("/tmp/k8s-webhook-server/serving-certs")  # the only place where the controllers look
SECRET = "kubeflow-trainer-webhook-cert"


class KubeflowTrainer:
    """v2, with the JobSet controller that creates the Jobs of its TrainJobs."""

    name, kind, label = "Kubeflow", "TrainJob", "jobset.sigs.k8s.io/jobset-name"

    def __init__(self, module: Path) -> None:
        self._module = module.resolve()

    def install(self, plane: ControlPlane, server: str, folder: Path) -> None:
        """Install CRDs, permissions, and one runtime: a pod of one GPU."""
        self._plane = plane
        group = "rbac.authorization.k8s.io"
        binding: Raw = {
            "apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": USER},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
        }  # fmt: skip
        hooks: Raw = {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "validator.trainer.kubeflow.org"}, "webhooks": [],
        }  # fmt: skip
        secret: Raw = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": SYSTEM}}
        namespace: Raw = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
        self._kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all([namespace, binding, hooks, secret]))
        trainer, jobset = self._source("github.com/kubeflow/trainer/v2"), self._source("sigs.k8s.io/jobset")
        for definitions in (trainer / "manifests" / "base" / "crds", jobset / "config" / "components" / "crd" / "bases"):
            for file in sorted(definitions.glob("*.*_*.yaml")):
                self._kubectl("apply", "--server-side", "-f", str(file))
        wait_for(lambda: self._tried("get", "clustertrainingruntimes", "-A"), 30, "their CRDs are not served")
        KINDS["TrainJob"] = Kind("TrainJob", "trainjobs", "trainer.kubeflow.org", "v1alpha1")
        self._runtime()
        kubeconfig = plane.kubeconfig_of(USER, server=server)
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        ports = free_ports(5)
        settings = folder / "jobset.yaml"
        settings.write_text(yaml.safe_dump({
            "apiVersion": "config.jobset.x-k8s.io/v1alpha1", "kind": "Configuration", "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False}, "webhook": {"port": ports[0]},
            "health": {"healthProbeBindAddress": f"127.0.0.1:{ports[1]}"}, "metrics": {"bindAddress": f"127.0.0.1:{ports[2]}"},
        }))  # fmt: skip
        self._trainer = Daemon(
            "trainer",
            [self._module / "bin" / "trainer", f"--webhook-server-port={ports[3]}",
             f"--health-probe-bind-address=127.0.0.1:{ports[4]}"],
            folder, environment,
        )  # fmt: skip
        self._jobset = Daemon("jobset", [self._module / "bin" / "jobset", f"--config={settings}"], folder, environment)

    def start(self) -> list[psutil.Process]:
        """Start both controllers; the Secret that one of them fills is written where a pod would have it mounted."""
        self._trainer.start()

        def mounted() -> bool:
            data = self._plane.api.get("Secret", SECRET, SYSTEM).get("data") or {}
            CERTIFICATES.mkdir(parents=True, exist_ok=True)
            for name, value in data.items():
                (CERTIFICATES / name).write_bytes(base64.b64decode(value))
            return "tls.crt" in data

        wait_for(mounted, 60, self._trainer.tail)
        self._jobset.start()
        wait_for(lambda: "Starting workers" in self._trainer.log.read_text(), 120, self._trainer.tail)
        wait_for(lambda: "Starting workers" in self._jobset.log.read_text(), 120, self._jobset.tail)
        return [psutil.Process(self._trainer.pid), psutil.Process(self._jobset.pid)]

    def stop(self) -> None:
        """Stop both."""
        self._trainer.kill()
        self._jobset.kill()

    def content(self, name: str, namespace: str, seconds: int) -> Raw:
        """A TrainJob of the runtime whose pods run for `seconds`."""
        runtime = RUNTIME if seconds < 60 else f"{RUNTIME}-long"
        return {
            "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob",
            "metadata": {"name": name, "namespace": namespace}, "spec": {"runtimeRef": {"name": runtime}},
        }  # fmt: skip

    def _runtime(self) -> None:
        for name, seconds in ((RUNTIME, 1), (f"{RUNTIME}-long", 3600)):
            container: dict[str, Any] = {"name": "node", "image": "example.invalid/trainer:1",
                                         "resources": {"limits": {"nvidia.com/gpu": "1"}}}  # fmt: skip
            pod = {"metadata": {"annotations": {RUNS_FOR: f"{seconds}s"}},
                   "spec": {"restartPolicy": "Never", "containers": [container],
                            "nodeSelector": {"pool": "benchmark"}}}  # fmt: skip
            job = {"name": "node", "template": {
                "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                "spec": {"template": pod, "backoffLimit": 3, "completionMode": "Indexed"},
            }}  # fmt: skip
            # What JobSet's webhook would fill in.
            defaults = {
                "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
                "successPolicy": {"operator": "All"}, "startupPolicy": {"startupPolicyOrder": "AnyOrder"},
            }  # fmt: skip
            content = {
                "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "ClusterTrainingRuntime", "metadata": {"name": name},
                "spec": {"mlPolicy": {"numNodes": 1}, "template": {"spec": {"replicatedJobs": [job], **defaults}}},
            }  # fmt: skip
            self._kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump(content))

    def _source(self, path: str) -> Path:
        listed = subprocess.run(
            ["go", "list", "-m", "-f", "{{.Dir}}", path], cwd=self._module, capture_output=True, text=True, check=True
        )
        return Path(listed.stdout.strip())

    def _tried(self, *arguments: str, given: str | None = None) -> bool:
        command = [str(self._plane.binaries["kubectl"]), f"--kubeconfig={self._plane.kubeconfig}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(done.stderr)
        return done.returncode == 0

    def _kubectl(self, *arguments: str, given: str | None = None) -> None:
        if not self._tried(*arguments, given=given):
            raise SystemExit(f"kubectl {' '.join(arguments)} failed")
