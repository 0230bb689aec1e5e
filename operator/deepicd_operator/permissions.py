"""RBAC rules for every request of the operator. The chart's Roles are generated from them, and a test compares."""

from __future__ import annotations

from typing import Any

from deepicd_operator.kinds import USES, Use

Rule = dict[str, Any]


def _rules(use: Use) -> tuple[Rule, ...]:
    allowed = {use.kind.plural: use.verbs, f"{use.kind.plural}/status": use.status_verbs}
    return tuple(
        {"apiGroups": [use.kind.group], "resources": [resource], "verbs": list(verbs)}
        for resource, verbs in allowed.items()
        if verbs
    )


NAMESPACED = tuple(rule for use in USES if use.kind.namespaced for rule in _rules(use))
"""Rules for each namespace that is served."""

CLUSTER = tuple(rule for use in USES if not use.kind.namespaced for rule in _rules(use))
"""Rules for cluster-scoped objects; optional."""
