"""A kind cluster for the tests, with a store and the operator; deleted afterwards."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import yaml
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "deepicd"
GPUS = 4
STORE_PORT, STORE_NODE_PORT = 8333, 30333
ACCESS_KEY, SECRET_KEY, BUCKET = "kind", "kind-secret", "models"
STORE_CONFIG = {
    "identities": [
        {"name": "kind", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]},
    ]
}  # fmt: skip
SEAWEED = "deepicd-test/seaweedfs:1"
SYSTEM = "deepicd-system"
"""Namespace of the operator."""


class KindCluster:
    """The cluster. Needs kind, kubectl, helm and docker; KIND_NODE_IMAGE, KIND_CONFIG and BASE_IMAGE are optional."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        places = {f"HELM_{each}_HOME": str(folder / "helm") for each in ("CACHE", "CONFIG", "DATA")}
        self.timings: dict[str, float] = {}
        """Seconds that parts took, shown after the tests."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, **places, "PATH": path, "KUBECONFIG": str(self.kubeconfig)}

    def run(
        self,
        *command: str,
        text: str | None = None,
        seconds: float = 600,
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, which may fail."""
        surroundings = {**self.environment, **(environment or {})}
        return subprocess.run(
            command, env=surroundings, cwd=folder, input=text, capture_output=True, text=True, timeout=seconds, check=False
        )

    def must(
        self,
        *command: str,
        text: str | None = None,
        seconds: float = 600,
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> str:
        """Run a command, which must succeed, and return its output."""
        done = self.run(*command, text=text, seconds=seconds, environment=environment, folder=folder)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Record how long the body takes."""
        began = time.monotonic()
        yield
        self.timings[what] = time.monotonic() - began

    def create(self) -> None:
        """Create the cluster, with one node that offers 4 GPUs."""
        chosen = [("--image", os.environ.get("KIND_NODE_IMAGE")), ("--config", os.environ.get("KIND_CONFIG"))]
        options = [each for name, value in chosen if value for each in (name, value)]
        self.must(
            "kind", "create", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig), "--wait", "180s", *options
        )
        self.offer_gpus()

    def nodes(self) -> list[str]:
        """Names of the nodes, which are also their docker containers' names."""
        return self.must("kind", "get", "nodes", "--name", self.name).split()

    def offer_gpus(self) -> None:
        """Report 4 GPUs on the node, as a device plugin would."""
        capacity = json.dumps([{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(GPUS)}])
        for node in self.nodes():
            self.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", capacity)

    def restart_node(self) -> None:
        """Stop the only node and start it again; returns once the API server answers and GPUs are offered."""
        (node,) = self.nodes()
        self.must("docker", "stop", node)
        self._start_node()

    def _start_node(self) -> None:
        """Start the only node, if it is stopped; returns as `restart_node` does."""
        (node,) = self.nodes()
        self.must("docker", "start", node)
        wait_for(
            lambda: self.run("kubectl", "get", "--raw", "/readyz").returncode == 0, 180, "the API server does not come back"
        )
        self.kubectl("wait", "node", node, "--for=condition=Ready", "--timeout=180s")
        self.offer_gpus()

    @contextmanager
    def store_away(self) -> Iterator[None]:
        """Stop the store while the body runs; it is restarted in any case."""
        self.kubectl("scale", "deployment/seaweed", "-n", "store", "--replicas=0")
        try:
            self.kubectl("wait", "pod", "-l", "app=seaweed", "-n", "store", "--for=delete", "--timeout=120s")
            yield
        finally:
            self._start_store()

    def _start_store(self) -> None:
        self.kubectl("scale", "deployment/seaweed", "-n", "store", "--replicas=1")
        self.kubectl("rollout", "status", "deployment/seaweed", "-n", "store", "--timeout=120s")

    def repair(self) -> None:
        """Restart node, store and operator if a failed test has left them stopped."""
        self._start_node()
        self._start_store()
        self.kubectl("rollout", "status", "deployment/deepicd", "-n", SYSTEM, "--timeout=180s")

    def take(self) -> None:
        """Use a cluster that an earlier run of the tests kept, unchanged."""
        self.must("kind", "export", "kubeconfig", "--name", self.name, "--kubeconfig", str(self.kubeconfig))

    def delete(self) -> None:
        """Delete the cluster."""
        self.must("kind", "delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))

    @contextmanager
    def saving(self, image: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start docker on an image's archive. For gigabytes it takes a minute before the first byte."""
        command = ["docker", "save", image]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()

    def load(self, saving: subprocess.Popen[bytes]) -> None:
        """Load a docker image into the cluster."""
        (node,) = self.nodes()
        # Not `kind load`: it imports the archive by the slower of containerd's two ways.
        command = ["docker", "exec", "-i", node, "ctr", "--namespace", "k8s.io", "images", "import", "--local", "-"]
        done = subprocess.run(
            command, env=self.environment, stdin=saving.stdout, capture_output=True, text=True, timeout=1200, check=False
        )
        assert (saving.wait(), done.returncode) == (0, 0), done.stdout[-2000:] + done.stderr[-2000:]

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl, which must succeed."""
        return self.must("kubectl", *arguments, text=text)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        self.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def deepicd(
        self, *arguments: str, seconds: float = 600, environment: Mapping[str, str] | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The command, as a user of the cluster."""
        return self.run("deepicd", *arguments, text=text, seconds=seconds, environment=environment)

    def shell(self, line: str, folder: Path, environment: Mapping[str, str] | None = None, seconds: float = 600) -> str:
        """Run a shell line in a folder, as a user would; it must succeed. Return its output."""
        return self.must("bash", "-c", line, seconds=seconds, environment=environment, folder=folder)

    def offer_volumes(self, storage_class: str, number: int) -> None:
        """Folders of the only node that pods without root may write to, as volumes of a class; none is used twice."""
        (node,) = self.nodes()
        names = [f"{storage_class}-{secrets.token_hex(4)}" for _ in range(number)]
        folders = [f"/var/{name}" for name in names]
        self.must("docker", "exec", node, "mkdir", "--parents", "--mode=0777", *folders)
        self.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": storage_class},
                "provisioner": "kubernetes.io/no-provisioner",
            },
            *(
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolume",
                    "metadata": {"name": name},
                    "spec": {
                        "storageClassName": storage_class,
                        "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                        "capacity": {"storage": "5Gi"},
                        "hostPath": {"path": folder},
                    },
                }
                for name, folder in zip(names, folders, strict=True)
            ),
        )

    def install_store(self) -> None:
        """Install SeaweedFS as the S3 store, in a separate namespace. Its data are deleted with the cluster."""
        context = self.folder / "seaweed"
        context.mkdir()
        weed = Path(sys.executable).with_name("weed")
        shutil.copy(weed.resolve(), context / "weed")
        base = os.environ.get("BASE_IMAGE", "python:3.12-slim-bookworm")
        (context / "Dockerfile").write_text(f"FROM {base}\nCOPY weed /usr/local/bin/weed\n")
        self.must("docker", "build", "-q", "-t", SEAWEED, str(context))
        with self.saving(SEAWEED) as archive:
            self.load(archive)
        labels = {"app": "seaweed"}
        command = [
            "weed", "server", "-dir=/data", "-ip=127.0.0.1", "-ip.bind=0.0.0.0", "-master.volumeSizeLimitMB=256",
            "-volume.max=100", "-master.telemetry=false", "-s3", f"-s3.port={STORE_PORT}", "-s3.config=/etc/seaweed/s3.json",
        ]  # fmt: skip
        container = {
            "name": "weed", "image": SEAWEED, "command": command, "ports": [{"containerPort": STORE_PORT}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "config", "mountPath": "/etc/seaweed"}],
            "readinessProbe": {"tcpSocket": {"port": STORE_PORT}},
        }  # fmt: skip
        # On the node's disk: the volumes of kind's storage class may be in memory.
        volumes = [
            {"name": "data", "hostPath": {"path": "/var/seaweed", "type": "DirectoryOrCreate"}},
            {"name": "config", "configMap": {"name": "seaweed"}},
        ]
        # It can be killed: acknowledged data are in its files.
        pod = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 2}
        template = {"metadata": {"labels": labels}, "spec": pod}
        place = {"name": "seaweed", "namespace": "store"}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "store"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place, "data": {"s3.json": json.dumps(STORE_CONFIG)}},
            {"apiVersion": "v1", "kind": "Service", "metadata": place,
             "spec": {"selector": labels, "type": "NodePort", "ports": [{"port": STORE_PORT, "nodePort": STORE_NODE_PORT}]}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": place,
             "spec": {"selector": {"matchLabels": labels}, "template": template, "strategy": {"type": "Recreate"}}},
        )  # fmt: skip
        self.kubectl("rollout", "status", "deployment/seaweed", "-n", "store", "--timeout=120s")
        self.bucket().create_bucket(Bucket=BUCKET)

    @property
    def endpoint(self) -> str:
        """The store's address on the node, for pods and for this machine."""
        found = self.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
        return f"http://{found}:{STORE_NODE_PORT}"

    def bucket(self) -> S3Client:
        """A client of the store."""
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY, config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    def stored(self, key: str) -> bytes:
        """Return the stored object of a key."""
        return self.bucket().get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def save(self, folder: Path, *namespaces: str) -> None:
        """Collect objects and logs for debugging a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        kinds = "deepicdruns,jobs,pods,events,configmaps"
        for namespace in namespaces:
            for name, command in (
                ("objects.yaml", ["get", kinds, "-n", namespace, "-o", "yaml"]),
                ("pods.txt", ["describe", "pods", "-n", namespace]),
                (
                    "logs.txt",
                    ["logs", "-n", namespace, "-l", "app.kubernetes.io/name", "--all-containers", "--tail=500", "--prefix"],
                ),
            ):
                done = self.run("kubectl", *command)
                (folder / f"{namespace}-{name}").write_text(done.stdout + done.stderr)


def wait_for(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the result of `look` once it is truthy; fails after `seconds`."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(1)
    return found
