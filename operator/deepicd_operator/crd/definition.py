"""The CustomResourceDefinition of DeepICDRun."""

from __future__ import annotations

from typing import Any

import yaml

from deepicd.spec.resource_names import GROUP, KIND, PLURAL, VERSION
from deepicd.spec.run import DeepICDRun, RunSpec
from deepicd_operator.crd.rules import run_rules
from deepicd_operator.crd.schema import structural
from deepicd_operator.status import RunStatus

# The default columns fit into a terminal of 105 characters; those of priority 1 are for `kubectl get -o wide`.
_COLUMNS = (
    ("State", "string", ".status.state", "Pending, Running, Suspended, Succeeded or Failed.", 0),
    ("Reason", "string", ".status.reason", "Why the run is in that state.", 1),
    ("Stage", "string", ".status.stage", "Current stage, or the last one.", 0),
    ("Step", "string", ".status.columns.step", "Steps done and total steps of the stage.", 0),
    ("Reward", "string", ".status.columns.reward", "Mean reward of the last step.", 0),
    ("KL", "string", ".status.columns.kl", "KL divergence of the last step.", 0),
    ("F1-Category", "string", ".status.columns.f1Category", "Macro F1 of categories on the test split.", 0),
    ("Attempt", "integer", ".status.attempt", "Number of the attempt.", 0),
    ("ETA", "string", ".status.columns.eta", "Time left in the stage.", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the run was applied.", 0),
    ("GPU-Hours", "string", ".status.columns.gpuHours", "GPU-hours of all attempts.", 1),
    ("Checkpoint", "string", ".status.columns.checkpoint", "Last verified checkpoint.", 1),
)  # fmt: skip


def crd() -> dict[str, Any]:
    """Return the CRD as an object; deterministic."""
    columns = [
        {"name": name, "type": kind, "jsonPath": path, "description": text} | ({"priority": 1} if priority else {})
        for name, kind, path, text, priority in _COLUMNS
    ]
    schema = {
        "type": "object",
        "description": " ".join((DeepICDRun.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(RunSpec),
            # Tools that wait for observedGeneration (kstatus) must not consider a run done before the operator has seen it.
            "status": structural(RunStatus) | {"default": {"observedGeneration": -1}},
        },
        "x-kubernetes-validations": run_rules(),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # `helm uninstall` keeps the CRD, and with it all runs.
        "metadata": {"name": f"{PLURAL}.{GROUP}", "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND, "listKind": f"{KIND}List", "plural": PLURAL, "singular": KIND.lower(),
                "shortNames": ["icd"], "categories": ["deepicd", "all"],
            },
            "versions": [
                {
                    "name": VERSION, "served": True, "storage": True, "subresources": {"status": {}},
                    "additionalPrinterColumns": columns, "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }  # fmt: skip


class _Plain(yaml.SafeDumper):
    """Writes no anchors: a schema that occurs twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def crd_yaml() -> str:
    """Return the CRD as YAML, for `kubectl apply` and the chart."""
    return yaml.dump(crd(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=128)
