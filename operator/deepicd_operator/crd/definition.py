"""The CustomResourceDefinition of DeepICDRun."""

from __future__ import annotations

from typing import Any

import yaml

from deepicd.spec.resource_names import GROUP, KIND, PLURAL, VERSION
from deepicd.spec.run import DeepICDRun, RunSpec
from deepicd_operator.crd.rules import run_rules
from deepicd_operator.crd.schema import structural
from deepicd_operator.status import RunStatus

# The default ones fit 105 columns of a terminal; those of priority 1 are for `kubectl get -o wide`.
_COLUMNS = (
    ("State", "string", ".status.state", "Pending, Running, Suspended, Succeeded or Failed.", 0),
    ("Reason", "string", ".status.reason", "Why it is in that state.", 1),
    ("Stage", "string", ".status.stage", "Stage at work, or the last one.", 0),
    ("Step", "string", ".status.columns.step", "Steps made and to make in the stage.", 0),
    ("Reward", "string", ".status.columns.reward", "Mean reward of the last step.", 0),
    ("KL", "string", ".status.columns.kl", "KL divergence of the last step.", 0),
    ("F1-Category", "string", ".status.columns.f1Category", "Macro F1 of categories on the test split.", 0),
    ("Attempt", "integer", ".status.attempt", "Number of the attempt.", 0),
    ("ETA", "string", ".status.columns.eta", "Time left in the stage.", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the run was applied.", 0),
    ("GPU-Hours", "string", ".status.columns.gpuHours", "GPUs times hours, over all attempts.", 1),
    ("Checkpoint", "string", ".status.columns.checkpoint", "Last verified checkpoint.", 1),
)  # fmt: skip


def crd() -> dict[str, Any]:
    """The definition as an object, the same for the same models."""
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
            # Whoever waits by observedGeneration (kstatus) shall not take a run for done that the operator has not seen yet.
            "status": structural(RunStatus) | {"default": {"observedGeneration": -1}},
        },
        "x-kubernetes-validations": run_rules(),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Helm leaves it, and with it all runs, when the chart is uninstalled.
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
    """Without anchors: the same schema in two places is written out twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def crd_yaml() -> str:
    """The definition as YAML, for `kubectl apply` and the chart."""
    return yaml.dump(crd(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=128)
