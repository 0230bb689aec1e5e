"""What runs may ask for, according to the operator's settings. Pure.

The rules apply to the finished pod template, so it does not matter which field or part of a patch a request came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from deepicd.spec.resource_names import RUN_LABEL
from deepicd.spec.run import DeepICDRun, RunSpec
from deepicd_operator.names import own_service_account
from deepicd_operator.privileges import containers, items, part, privileges
from deepicd_operator.references import SECRETS, SERVICE_ACCOUNTS, names_at
from deepicd_operator.resources import AttemptRequest, planned_pod
from deepicd_operator.settings import PatchLevel, Settings

SCHEDULING = frozenset({
    "affinity", "nodeSelector", "preemptionPolicy", "priorityClassName", "runtimeClassName", "schedulerName",
    "schedulingGates", "tolerations", "topologySpreadConstraints",
})  # fmt: skip
"""Fields of a pod's spec that decide where and when it runs. Not `nodeName`, which bypasses the scheduler."""
_PATCH = "compute.podTemplatePatch"
# Fields with keys of a volume driver's own, which are not Kubernetes fields.
_FREE_FORM = frozenset({"volumeAttributes", "options"})
Raw = Mapping[str, Any]


def verdict(run: DeepICDRun, settings: Settings) -> tuple[str, ...]:
    """Return why a run is refused, in the form of `violations`; empty if it may run."""
    return _verdict(run.model_dump_json(by_alias=True), settings)


@lru_cache(maxsize=1024)
def _verdict(content: str, settings: Settings) -> tuple[str, ...]:
    # A run is reconciled about ten times per attempt, and building a template takes a millisecond.
    run = DeepICDRun.model_validate_json(content)
    # The namespace, the uid and the attempt's number make no difference.
    return violations(planned_pod(AttemptRequest(run, "", "", 1, settings)), run.spec, settings)


def violations(template: Raw, spec: RunSpec, settings: Settings) -> tuple[str, ...]:
    """Return each violation as `<field>: <what was found>: <what is allowed, and the chart value that decides>`."""
    found = [*_patch(spec, settings)]
    if not settings.privileged:
        found += [f"{_PATCH}.{each}: no privileges are allowed (runs.privileged)" for each in privileges(template)]
    found += [*_images(template, spec, settings), *_service_accounts(template, spec, settings)]
    return (*found, *_secrets(template, spec, settings))


def is_image_allowed(image: str, prefixes: tuple[str, ...]) -> bool:
    """Whether an image's name starts with one of the prefixes, and the prefix ends at the end of a part of the name."""
    return any(_has_prefix(image, prefix) for prefix in prefixes)


def _has_prefix(image: str, prefix: str) -> bool:
    if not image.startswith(prefix):
        return False
    rest = image[len(prefix) :]
    if not rest or rest.startswith("/") or prefix.endswith("/"):
        return True
    # A colon may also introduce the port of another registry.
    return rest[0] in ":@" and "/" not in rest


def _patch(spec: RunSpec, settings: Settings) -> Iterator[str]:
    patch, level = spec.compute.pod_template_patch, settings.pod_template_patch
    if patch is None or level is PatchLevel.ANY:
        return
    allowed = {
        "metadata": frozenset() if level is PatchLevel.NONE else frozenset({"labels", "annotations"}),
        "spec": SCHEDULING if level is PatchLevel.SCHEDULING else frozenset(),
    }
    for name, fields in allowed.items():
        for field in getattr(patch, name) or ():
            if field not in fields:
                yield f"{_PATCH}.{name}.{field}: is beyond what patches may change: {level} (runs.podTemplatePatch)"


def _images(template: Raw, spec: RunSpec, settings: Settings) -> Iterator[str]:
    if not settings.allowed_images:
        return
    pod = part(template, "spec")
    used = [(f"{_PATCH}.{place}.image", container.get("image")) for place, container in containers(pod)]
    used += [
        (f"{_PATCH}.spec.volumes[{volume.get('name')}].image", part(volume, "image").get("reference"))
        for volume in items(pod, "volumes")
        if "image" in volume
    ]
    seen: set[str] = set()
    for place, image in used:
        name = str(image)
        if name in seen or name == settings.image or is_image_allowed(name, settings.allowed_images):
            continue
        seen.add(name)
        field = "compute.image" if name == spec.compute.image else place
        yield f"{field}: {name}: allowed are {_listed(settings.allowed_images)} (runs.allowedImages)"


def _service_accounts(template: Raw, spec: RunSpec, settings: Settings) -> Iterator[str]:
    pod = part(template, "spec")
    run = part(part(template, "metadata"), "labels").get(RUN_LABEL)
    allowed = {own_service_account(str(run)), *settings.allowed_service_accounts, *_checked(spec, SERVICE_ACCOUNTS, settings)}
    # Kubernetes uses the old field if the new one is empty, and `default` if both are.
    used = {pod.get("serviceAccountName") or pod.get("serviceAccount") or "default", pod.get("serviceAccount")} - {None, ""}
    for name in sorted(str(each) for each in used):
        if name not in allowed:
            field = "compute.serviceAccount.name" if name == spec.compute.service_account.name else f"{_PATCH}.spec"
            yield f"{field}: ServiceAccount {name}: {_rule(settings, field, 'ServiceAccounts')}"


def _secrets(template: Raw, spec: RunSpec, settings: Settings) -> Iterator[str]:
    checked = _checked(spec, SECRETS, settings)
    fields = _named(spec, SECRETS)
    seen: set[str] = set()
    for place, name in secret_references(part(template, "spec")):
        if name in seen or name in settings.allowed_secrets or name in checked:
            continue
        seen.add(name)
        field = fields.get(name, f"{_PATCH}.{place}")
        yield f"{field}: Secret {name}: {_rule(settings, field, 'Secrets')}"


def secret_references(spec: Raw) -> Iterator[tuple[str, str]]:
    """Yield every Secret in a pod's spec, with its field. Fields are recognised by name, which covers new volume types too."""
    for volume in items(spec, "volumes"):
        yield from _references(f"spec.volumes[{volume.get('name')}]", volume)
    for place, container in containers(spec):
        for field in ("env", "envFrom"):
            for variable in items(container, field):
                yield from _references(f"{place}.{field}", variable)
    for secret in items(spec, "imagePullSecrets"):
        yield "spec.imagePullSecrets", str(secret.get("name"))


def _references(place: str, content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, list | tuple):
        for item in content:
            yield from _references(place, item)
    if not isinstance(content, Mapping):
        return
    for field, value in content.items():
        if "secret" not in str(field).lower():
            if field not in _FREE_FORM:
                yield from _references(f"{place}.{field}", value)
        elif isinstance(value, Mapping):
            yield f"{place}.{field}", str(value.get("secretName") or value.get("name"))
        elif isinstance(value, str) and not str(field).lower().endswith("namespace"):
            yield f"{place}.{field}", value


def _checked(spec: RunSpec, paths: tuple[str, ...], settings: Settings) -> frozenset[str]:
    """Names that the API server has checked. A patch may use them too, since the author has rights to them."""
    return frozenset(_named(spec, paths) if settings.admission_policy else ())


def _named(spec: RunSpec, paths: tuple[str, ...]) -> dict[str, str]:
    """Return the names in the spec's own fields, each with its field."""
    content = spec.model_dump(mode="json", by_alias=True, include={"compute", "reward", "storage", "tracking"})
    return {name: path for path in paths for name in names_at(path, content)}


def _rule(settings: Settings, field: str, kind: str) -> str:
    allowed = settings.allowed_secrets if kind == "Secrets" else settings.allowed_service_accounts
    where = "in a patch" if field.startswith(_PATCH) else "on this cluster"
    return f"allowed {where}: {_listed(allowed)} (runs.allowed{kind})"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "none"
