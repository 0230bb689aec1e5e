"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler; kwok instead of kubelets."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.api import Api
from tests.cluster.certificates import ADMIN_GROUP, Authority, token_key
from tests.cluster.daemon import Daemon, free_ports
from tests.cluster.nodes import ALIVE, add_nodes, fake_node

START_SECONDS = 240
STAGES = Path(__file__).with_name("stages.yaml")


class ControlPlane:
    """A control plane with TLS, RBAC and the usual admission plug-ins (Pod Security, quotas, limit ranges).

    A node that stops reporting is lost after about 7 s, and its pods are evicted 3 s later.
    """

    def __init__(self, folder: Path, binaries: Mapping[str, Path]) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self._ports = dict(zip(("etcd", "peer", "api", "manager", "scheduler", "kwok"), free_ports(6), strict=True))
        self.server = f"https://127.0.0.1:{self._ports['api']}"
        self.kubeconfig = self.authority.kubeconfig(self.server, "admin", ADMIN_GROUP)
        self._trust = ssl.create_default_context(cafile=str(self.authority.certificate))
        self._trust.load_cert_chain(*self.authority.client("prober", ADMIN_GROUP))
        self.binaries = binaries
        self.daemons = {
            name: Daemon(name, [binaries[name], *arguments], folder)
            for name, arguments in (
                ("etcd", self._etcd()),
                ("kube-apiserver", self._api_server()),
                ("kube-controller-manager", self._controller_manager()),
                ("kube-scheduler", self._scheduler()),
                ("kwok", self._kwok()),
            )
        }
        self.api = Api(self.kubeconfig)

    def start(self) -> None:
        """Start everything, with nodes of 4, 8 and no GPUs."""
        self.daemons["etcd"].start()
        self.daemons["etcd"].wait_until_ready(lambda: self._answers("etcd", "/health", None), START_SECONDS)
        self._start_api_server()
        for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
            self.daemons[name].start()
        # They create their own certificates.
        unchecked = ssl._create_unverified_context()
        for name, port, context in (
            ("kube-controller-manager", "manager", unchecked),
            ("kube-scheduler", "scheduler", unchecked),
            ("kwok", "kwok", None),
        ):
            self.daemons[name].wait_until_ready(lambda: self._answers(port, "/healthz", context), START_SECONDS)  # noqa: B023
        add_nodes(self.api, fake_node("gpu-4-a", 4), fake_node("gpu-4-b", 4), fake_node("gpu-8", 8), fake_node("cpu", 0))

    def stop(self) -> None:
        """Kill everything; nothing is kept."""
        self.api.close()
        for daemon in reversed(self.daemons.values()):
            daemon.kill()

    def restart_api_server(self) -> None:
        """Crash the API server, and wait until it answers again."""
        with self.api_server_down():
            pass

    @contextmanager
    def api_server_down(self) -> Iterator[None]:
        """Run the body without the API server, which is restarted afterwards."""
        self.daemons["kube-apiserver"].kill()
        try:
            yield
        finally:
            self._start_api_server()

    def _start_api_server(self) -> None:
        """Start it and wait for it. It ends if a part of its own start takes over 30 s, as on a busy machine: then again."""
        server = self.daemons["kube-apiserver"]
        for last in (False, False, True):
            server.start()
            try:
                server.wait_until_ready(lambda: self._answers("api", "/readyz", self._trust), START_SECONDS)
            except AssertionError:
                if last or server.running:
                    raise
                server.kill()
            else:
                return

    def kubeconfig_of(self, user: str, *groups: str, server: str | None = None) -> Path:
        """A kubeconfig file for a user who has no rights yet; `server` may be a proxy's."""
        return self.authority.kubeconfig(server or self.server, user, *groups)

    @property
    def memory(self) -> int:
        """Memory of all processes, in bytes."""
        return sum(daemon.memory for daemon in self.daemons.values())

    def logs(self) -> str:
        """Path and end of each process's log."""
        return "\n\n".join(f"--- {daemon.log}\n{daemon.tail(500)}" for daemon in self.daemons.values())

    def _answers(self, port: str, path: str, context: ssl.SSLContext | None) -> bool:
        number = self._ports[port]
        if context is None:
            connection = http.client.HTTPConnection("127.0.0.1", number, timeout=2)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", number, timeout=2, context=context)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _etcd(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._ports['etcd']}", f"http://127.0.0.1:{self._ports['peer']}"
        return [
            f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        ]  # fmt: skip

    def _api_server(self) -> list[str]:
        certificate, key = self.authority.server("kube-apiserver")
        tokens = token_key(self.folder)
        return [
            f"--etcd-servers=http://127.0.0.1:{self._ports['etcd']}", f"--secure-port={self._ports['api']}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--client-ca-file={self.authority.certificate}",
            f"--cert-dir={self.folder}", "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={tokens}", f"--service-account-signing-key-file={tokens}",
            "--default-not-ready-toleration-seconds=3", "--default-unreachable-toleration-seconds=3", "--profiling=false",
        ]  # fmt: skip

    def _controller_manager(self) -> list[str]:
        return [
            *self._client("kube-controller-manager", "manager"), "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.folder / 'tokens.key'}", f"--root-ca-file={self.authority.certificate}",
            "--node-monitor-period=1s", "--node-monitor-grace-period=6s", "--concurrent-job-syncs=20",
            "--kube-api-qps=500", "--kube-api-burst=1000",
        ]  # fmt: skip

    def _scheduler(self) -> list[str]:
        return [*self._client("kube-scheduler", "scheduler"), "--kube-api-qps=500", "--kube-api-burst=1000"]

    def _client(self, name: str, port: str) -> list[str]:
        kubeconfig = self.authority.kubeconfig(self.server, f"system:{name}")
        return [
            *(f"--{each}kubeconfig={kubeconfig}" for each in ("", "authentication-", "authorization-")),
            "--bind-address=127.0.0.1", f"--secure-port={self._ports[port]}", f"--cert-dir={self.folder / name}",
            "--leader-elect=false", "--profiling=false",
        ]  # fmt: skip

    def _kwok(self) -> list[str]:
        kubeconfig = self.authority.kubeconfig(self.server, "kwok", ADMIN_GROUP)
        return [
            f"--kubeconfig={kubeconfig}", f"--config={STAGES}", f"--server-address=127.0.0.1:{self._ports['kwok']}",
            f"--manage-nodes-with-label-selector={ALIVE}=yes", "--manage-all-nodes=false",
            "--node-lease-duration-seconds=4", "--node-ip=127.0.0.1", "--cidr=10.244.0.0/16",
        ]  # fmt: skip


def started(folder: Path, binaries: Mapping[str, Path]) -> tuple[ControlPlane, float]:
    """Start a control plane. Return it, once it answers, and the seconds it took."""
    begin = time.monotonic()
    plane = ControlPlane(folder, binaries)
    try:
        plane.start()
    except BaseException:
        plane.stop()
        raise
    return plane, time.monotonic() - begin
