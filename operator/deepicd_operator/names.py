"""Names and labels of the operator's objects. Names follow from run and attempt, so no object can exist twice."""

from __future__ import annotations

from deepicd.spec.resource_names import ATTEMPT_LABEL, RUN_LABEL

MANAGER = "deepicd-operator"
"""Field manager, and value of `app.kubernetes.io/managed-by`."""
MANAGED_SELECTOR = f"app.kubernetes.io/managed-by={MANAGER}"
"""Label selector of what the operator watches."""


def attempt_name(run: str, attempt: int) -> str:
    """Return the name of an attempt's Job (or RayJob), Role and RoleBinding: at most 59 characters, up to 99,999 attempts."""
    return f"{run}-a{attempt}"


def own_service_account(run: str) -> str:
    """Return the name of the ServiceAccount that the operator creates for a run."""
    return f"{run}-trainer"


def labels(run: str, attempt: int | None = None, component: str = "trainer") -> dict[str, str]:
    """Return an object's labels: Kubernetes' recommended ones and our own."""
    chosen = {
        "app.kubernetes.io/name": "deepicd",
        "app.kubernetes.io/instance": run,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": MANAGER,
        RUN_LABEL: run,
    }
    return chosen if attempt is None else {**chosen, ATTEMPT_LABEL: str(attempt)}
