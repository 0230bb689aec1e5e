"""`spec.compute`: the run's resources. Except for `gpus` and `nodes`, they have an effect only on a cluster."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from deepicd.spec.base import Size, SpecModel
from deepicd.spec.changes import Fixed
from deepicd.spec.environment import OPERATORS_PREFIX
from deepicd.spec.json_values import check_json
from deepicd.spec.rules import at_default, at_least, either, equals, exactly_one, given, matches, never, python_only, requires
from deepicd.spec.wording import pattern

NAME_PATTERN = pattern(
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    "lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
)
VARIABLE_PATTERN = pattern(r"^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and '_', not beginning with a digit")
PATH_PATTERN = pattern(r"^/[^:]*$", "an absolute path, without a colon")
_LABEL_PATTERN = pattern(
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lower-case letters, digits and '-', beginning and ending with a letter or digit"
)

ObjectName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=253)]
"""Name of an object of the cluster."""

LabelName = Annotated[str, StringConstraints(pattern=_LABEL_PATTERN, max_length=63)]
"""Name of an object of the cluster that is also used as a label's value."""

AbsolutePath = Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=1024)]
"""An absolute path in the container."""

_QUALIFIED = "a name such as team or nvidia.com/gpu: letters, digits, '-', '_' and '.'"
QUALIFIED_PATTERN = pattern(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", _QUALIFIED)
QualifiedName = Annotated[str, StringConstraints(pattern=QUALIFIED_PATTERN, max_length=317)]
"""A label's key or a resource's name, such as `nvidia.com/gpu`."""


class SecretKey(SpecModel):
    """One key of a Secret in the run's namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: str = Field(pattern=pattern(r"^[-._a-zA-Z0-9]+$", "letters, digits, '-', '_' and '.'"), max_length=253)
    """Key in it."""


class EnvironmentVariable(SpecModel):
    """An environment variable of the containers: exactly one of `value`, `secret`."""

    name: str = Field(pattern=VARIABLE_PATTERN, max_length=253)
    """Name of the variable."""
    value: str | None = Field(default=None, max_length=4096)
    """Its literal value."""
    secret: SecretKey | None = None
    """Where its value is stored."""

    rules = (
        exactly_one("value", "secret"),
        never(
            matches("name", f"^{OPERATORS_PREFIX}.*$"),
            f"name: names that begin with {OPERATORS_PREFIX} are the operator's: choose another",
        ),
    )


class Toleration(SpecModel):
    """A taint of nodes that the run's pods tolerate."""

    key: QualifiedName | None = None
    """Key of the taint; every taint by default."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """`Equal` compares `value`, `Exists` does not."""
    value: str | None = Field(default=None, max_length=63)
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; all effects by default."""
    toleration_seconds: int | None = Field(default=None, ge=0)
    """How long a `NoExecute` taint is tolerated; forever by default."""

    rules = (
        either(given("key"), equals("operator", "Exists"), message="operator: must be Exists where key is left out"),
        requires("value", equals("operator", "Equal"), "value: has no effect with operator Exists: remove it"),
        requires("tolerationSeconds", equals("effect", "NoExecute"), "tolerationSeconds: goes with effect NoExecute"),
    )


class DataVolume(SpecModel):
    """A read-only mount, so that the paths of `data`, `model` and `storage` exist in the pod:
    exactly one of `claim`, `configMap`, `secret`.
    """

    claim: ObjectName | None = None
    """A PersistentVolumeClaim of the run's namespace."""
    config_map: ObjectName | None = None
    """A ConfigMap of the run's namespace, for example with a store's CA bundle."""
    secret: ObjectName | None = None
    """A Secret of the run's namespace."""
    path: AbsolutePath
    """Where it is mounted."""
    sub_path: str | None = Field(default=None, pattern=pattern(r"^[^/].*$", "a relative path"), max_length=1024)
    """Mount only this folder or file of it."""

    rules = (exactly_one("claim", "configMap", "secret"),)


class ScratchSpec(SpecModel):
    """The volume that holds the run's folder, temporary files and checkpoints until they are uploaded."""

    size: Size = 600 * 2**30
    """Size limit. A model with 7 billion parameters takes up to 350 GB; `deepicd validate` prints what a run takes."""
    storage_class: ObjectName | None = None
    """Create a PersistentVolumeClaim of this StorageClass for each attempt, and delete it once everything on it is in the
    store. By default the volume is on the node's disk and is deleted with the pod. Needed with `compute.nodes` above 1, because
    all pods write to the volume (ReadWriteMany)."""


class UploaderSpec(SpecModel):
    """Requests and limits of the uploader's container. They have no effect with `compute.nodes` above 1, because then
    the trainer uploads.
    """

    cpu: float = Field(default=0.1, gt=0, le=64)
    """CPU cores requested."""
    cpu_limit: float | None = Field(default=None, gt=0, le=64)
    """Limit of CPU cores; by default 2, or `cpu` if that is more."""
    memory: Size = 256 * 2**20
    """Memory requested."""
    memory_limit: Size | None = None
    """Memory limit; by default 1Gi, or `memory` if that is more."""

    rules = (
        at_least("cpuLimit", "cpu", "cpuLimit: is less than cpu: raise it or lower cpu"),
        at_least("memoryLimit", "memory", "memoryLimit: is less than memory: raise it or lower memory", sizes=True),
    )


class ServiceAccountSpec(SpecModel):
    """The identity of the run's pods. It may patch one ConfigMap, the attempt's progress, and nothing else."""

    name: LabelName | None = None
    """An existing ServiceAccount to use; by default one is created for the run."""
    annotations: dict[QualifiedName, Annotated[str, StringConstraints(max_length=2048)]] = Field(default={}, max_length=16)
    """Annotations of the run's own ServiceAccount, such as its role in a cloud's workload identity."""

    rules = (
        requires(
            "name",
            at_default("annotations", {}),
            "annotations: an existing ServiceAccount is not changed: remove them, or remove name",
        ),
    )


class PodTemplatePatch(SpecModel):
    """A strategic merge patch of the pod template: lists of named things (containers, volumes, env, …) are merged by name."""

    metadata: dict[str, Any] | None = None
    """Labels and annotations."""
    spec: dict[str, Any] | None = None
    """The pod's spec, in Kubernetes' own format; the trainer's container is `trainer`, the uploader's `sync`."""

    @property
    def content(self) -> dict[str, Any]:
        """The patch as it was written: a `null` in it deletes."""
        given = {"metadata": self.metadata, "spec": self.spec}
        return {name: value for name, value in given.items() if value is not None}


class ComputeSpec(SpecModel):
    """Resources of the run. On one machine only `gpus` and `nodes` have an effect; the rest is for the cluster."""

    gpus: Fixed[int] = Field(default=4, ge=1, le=16)
    """GPUs per node; with the CPU build of the training stack, the number of ranks on the CPU."""
    gpu_resource: str = Field(
        default="nvidia.com/gpu", pattern=pattern(f"^({QUALIFIED_PATTERN[1:-1]})?$", _QUALIFIED), max_length=317
    )
    """On a cluster: name of the resource that requests a GPU. An empty string requests none, for the CPU build
    (`null` does not work, because `kubectl apply` drops it)."""
    nodes: Fixed[int] = Field(default=1, ge=1, le=64)
    """Number of nodes for GRPO, each with `gpus` GPUs; the other stages use those of the first node. On a cluster more than one
    node creates a RayJob and needs KubeRay; elsewhere RAY_ADDRESS names a Ray cluster."""
    cpu: float | None = Field(default=None, gt=0, le=4096)
    """On a cluster: CPU cores requested, per node."""
    cpu_limit: float | None = Field(default=None, gt=0, le=4096)
    """On a cluster: limit of CPU cores, per node; unlimited by default. In a namespace with a ResourceQuota
    on `limits.cpu` a limit is needed."""
    memory: Size | None = None
    """On a cluster: memory request and limit per node; it includes `sharedMemory`."""
    uploader: UploaderSpec = UploaderSpec()
    """On a cluster: CPU cores and memory of the uploader's container."""
    shared_memory: Size = 16 * 2**30
    """On a cluster: size of /dev/shm, through which the training processes exchange tensors."""
    scratch: ScratchSpec = ScratchSpec()
    """On a cluster: the volume for the run's folder."""
    model_cache: ObjectName | None = None
    """On a cluster: PersistentVolumeClaim for the Hugging Face cache, which is kept between runs; the default is `scratch`."""
    data_volumes: tuple[DataVolume, ...] = Field(default=(), max_length=32)
    """On a cluster: claims, ConfigMaps and Secrets with data and models, mounted read-only."""
    image: str | None = Field(default=None, min_length=1, max_length=512)
    """On a cluster: image of the trainer; the default is the one set when the operator was installed."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """On a cluster: when the image is pulled; the default is Kubernetes' own rule."""
    image_pull_secrets: tuple[ObjectName, ...] = Field(default=(), max_length=16)
    """On a cluster: Secrets with the registry's credentials."""
    queue: LabelName | None = None
    """On a cluster: Kueue LocalQueue that admits the attempts."""
    node_selector: dict[QualifiedName, Annotated[str, StringConstraints(max_length=63)]] = Field(default={}, max_length=32)
    """On a cluster: labels that a node must have."""
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=32)
    """On a cluster: node taints that the pods tolerate."""
    affinity: dict[str, Any] | None = None
    """On a cluster: the pods' affinity, in Kubernetes' own format."""
    priority_class: ObjectName | None = None
    """On a cluster: the pods' PriorityClass."""
    runtime_class: ObjectName | None = None
    """On a cluster: the pods' RuntimeClass, such as `nvidia`."""
    service_account: ServiceAccountSpec = ServiceAccountSpec()
    """On a cluster: the pods' identity."""
    env: tuple[EnvironmentVariable, ...] = Field(default=(), max_length=128)
    """On a cluster: additional environment variables of the containers."""
    pod_template_patch: PodTemplatePatch | None = None
    """On a cluster: a strategic merge patch of the pod template, applied last, for anything that has no field here."""
    price_per_gpu_hour: float | None = Field(default=None, ge=0, le=1e6)
    """On a cluster: price of one GPU hour, in any currency; `status.cost` has the same unit."""

    rules = (
        at_least("cpuLimit", "cpu", "cpuLimit: is less than cpu: raise it or lower cpu"),
        at_least(
            "memory",
            "sharedMemory",
            "memory: is less than sharedMemory, which is a part of it: raise it or lower sharedMemory",
            sizes=True,
        ),
        either(
            equals("nodes", 1),
            given("scratch.storageClass"),
            message="scratch.storageClass: is needed with nodes above 1, which share the run's folder: "
            "give a class of volumes that many nodes can write (ReadWriteMany)",
        ),
        python_only("affinity: ", lambda compute: check_json(compute.affinity)),
    )
