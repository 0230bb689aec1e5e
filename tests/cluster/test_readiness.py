"""The operator reports ready while the API server accepts its requests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api import Api, wait_for
from tests.cluster.api_call import Call
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fault_proxy import Fault, FaultProxy
from tests.cluster.operated import USER, grant
from tests.cluster.operator_process import OperatorProcess

pytestmark = pytest.mark.usefixtures("run_definition")


@pytest.fixture
def serving(cluster: ControlPlane, api: Api, namespace: str, proxy: FaultProxy, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator for the test's namespace and another one, with a full list each second."""
    arguments = (f"--namespace={namespace}", f"--namespace={namespace}-other", "--resync=1")
    grant(api, namespace)
    made = OperatorProcess(cluster.kubeconfig_of(USER, server=proxy.server), tmp_path, *arguments, hasty=True)
    made.start()
    made.wait_until_serving()
    yield made
    made.kill()


def last_success(operator: OperatorProcess) -> float:
    (value,) = re.findall(r"^deepicd_api_last_success_timestamp_seconds (\S+)$", operator.get("/metrics")[1], re.MULTILINE)
    return float(value)


def is_own(call: Call) -> bool:
    return call.user == USER


@pytest.mark.parametrize("status", [401, 403])
def test_an_operator_whose_requests_are_refused_is_not_ready_until_they_are_accepted(
    serving: OperatorProcess, proxy: FaultProxy, status: int
) -> None:
    fault = proxy.fail(Fault(is_own, status=status, times=10**9))
    began = time.time()
    wait_for(lambda: serving.get("/readyz")[0] == 503, 60, lambda: serving.get("/readyz"))
    assert fault.times < 10**9
    # An answer already under way when the fault started may still have arrived.
    assert last_success(serving) < began + 1
    proxy.clear()
    wait_for(lambda: serving.get("/readyz")[0] == 200, 60, serving.tail)
    assert last_success(serving) > began + 1


def test_one_refused_namespace_of_two_leaves_the_operator_ready(serving: OperatorProcess) -> None:
    # The operator has never had rights in the other one.
    wait_for(lambda: "a namespace cannot be served" in serving.log.read_text(), 60, serving.tail)
    before = last_success(serving)
    wait_for(lambda: last_success(serving) > before, 60, serving.tail)
    assert serving.get("/readyz")[0] == 200
