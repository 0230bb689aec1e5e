"""Names of a run on Kubernetes, which the operator sets and `deepicd` looks for."""

from __future__ import annotations

GROUP = "deepicd.io"
VERSION = "v1alpha1"
KIND = "DeepICDRun"
PLURAL = "deepicdruns"
API_VERSION = f"{GROUP}/{VERSION}"

RUN_LABEL = f"{GROUP}/run"
ATTEMPT_LABEL = f"{GROUP}/attempt"
RUN_UID_LABEL = f"{GROUP}/run-uid"
"""Label of pods: the uid of their run, which identifies a pod whose Job was deleted without it."""

RAY_NODE_LABEL = "ray.io/node-type"
"""KubeRay's label of pods: `head` or `worker`."""
RAY_CLUSTER_LABEL = "ray.io/cluster"
"""KubeRay's label of pods: the RayCluster that they belong to."""

RUN_ANNOTATION = f"{GROUP}/run.yaml"
"""Annotation of an attempt's pods that holds the run's file."""

TRAINER = "trainer"
"""Name of the container that trains."""
SYNC = "sync"
"""Name of the sidecar that uploads."""
