"""The input of the builders of an attempt's objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepicd.spec.resource_names import API_VERSION, KIND, RUN_UID_LABEL
from deepicd.spec.run import DeepICDRun, RunSpec
from deepicd_operator.names import attempt_name, labels, own_service_account
from deepicd_operator.settings import Settings


@dataclass(frozen=True)
class AttemptRequest:
    """One attempt of a run, to be created."""

    run: DeepICDRun
    namespace: str
    uid: str
    """uid of the run's object: children refer to it, and the store's paths contain it."""
    number: int
    settings: Settings

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run.metadata.name

    @property
    def spec(self) -> RunSpec:
        """The run's spec."""
        return self.run.spec

    @property
    def on_ray(self) -> bool:
        """Whether the attempt has several nodes and is therefore a RayJob."""
        return self.spec.compute.nodes > 1

    @property
    def attempt_name(self) -> str:
        """Name of the attempt's objects."""
        return attempt_name(self.name, self.number)

    @property
    def service_account(self) -> str:
        """Name of the ServiceAccount that the pods use."""
        return self.spec.compute.service_account.name or own_service_account(self.name)

    @property
    def scratch_claim(self) -> str | None:
        """Name of the attempt's claim for its scratch volume; None if that is on the node's disk."""
        return scratch_claim_name(self.run, self.number)

    @property
    def pod_labels(self) -> dict[str, str]:
        """Labels of the attempt's pods."""
        return {**labels(self.name, self.number), RUN_UID_LABEL: self.uid}

    def metadata(self, name: str, *, of_attempt: bool = True) -> dict[str, Any]:
        """Return a child's metadata: its owner is the run, which deletes it, and its labels identify it."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": labels(self.name, self.number if of_attempt else None),
            "ownerReferences": [
                {"apiVersion": API_VERSION, "kind": KIND, "name": self.name, "uid": self.uid, "controller": True}
            ],
        }


def scratch_claim_name(run: DeepICDRun, attempt: int) -> str | None:
    """Return the name of the claim for an attempt's scratch volume; None if that is on the node's disk."""
    return None if run.spec.compute.scratch.storage_class is None else attempt_name(run.metadata.name, attempt)
