"""Privileges that a pod asks for: everything beyond Pod Security's baseline, and root.

Checked on the finished pod template, which may contain anything from a patch. A value of the wrong type counts as a request;
the API server refuses it in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
"""Capabilities that Pod Security's baseline lets a container add."""
SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
})  # fmt: skip
"""Sysctls that affect only the pod."""
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
Raw = Mapping[str, Any]


def privileges(template: Raw) -> Iterator[str]:
    """Yield each privilege that the pod template asks for, as `<field of the template>: <what was found>`."""
    spec = part(template, "spec")
    for name in ("hostPID", "hostIPC", "hostNetwork"):
        if spec.get(name) not in (None, False):
            yield f"spec.{name}: {spec[name]}"
    pod = part(spec, "securityContext")
    for place, context in (("spec.securityContext", pod), *_contexts(spec)):
        yield from _context(place, context)
    for sysctl in items(pod, "sysctls"):
        if not _is_among(SYSCTLS, sysctl.get("name")):
            yield f"spec.securityContext.sysctls: {sysctl.get('name')}"
    for volume in items(spec, "volumes"):
        if volume.get("hostPath") is not None:
            yield f"spec.volumes[{volume.get('name')}].hostPath: {part(volume, 'hostPath').get('path')}"
    for place, container in containers(spec):
        yield from _container(place, container, pod)
    for name, value in part(part(template, "metadata"), "annotations").items():
        if name.startswith(_APPARMOR) and value == "unconfined":
            yield f"metadata.annotations[{name}]: {value}"


def containers(spec: Raw) -> Iterator[tuple[str, Raw]]:
    """Yield every container of a pod's spec, with its field."""
    for kind in CONTAINERS:
        for container in items(spec, kind):
            yield f"spec.{kind}[{container.get('name')}]", container


def part(content: Raw, name: str) -> Raw:
    """Return a nested mapping; empty if it is missing or no mapping."""
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def items(content: Raw, name: str) -> Iterator[Raw]:
    """Yield the mappings in a nested list."""
    found = content.get(name)
    for item in found if isinstance(found, list | tuple) else ():
        if isinstance(item, Mapping):
            yield item


def _is_among(names: frozenset[str], value: Any) -> bool:
    # Lists and mappings are not hashable.
    return isinstance(value, str) and value in names


def _contexts(spec: Raw) -> Iterator[tuple[str, Raw]]:
    for place, container in containers(spec):
        yield f"{place}.securityContext", part(container, "securityContext")


def _context(place: str, context: Raw) -> Iterator[str]:
    """Checks the fields that the securityContexts of a container and of the pod share."""
    if context.get("runAsUser") == 0:
        yield f"{place}.runAsUser: 0"
    if part(context, "windowsOptions").get("hostProcess") not in (None, False):
        yield f"{place}.windowsOptions.hostProcess: {part(context, 'windowsOptions')['hostProcess']}"
    for profile in ("seccompProfile", "appArmorProfile"):
        if part(context, profile).get("type") == "Unconfined":
            yield f"{place}.{profile}.type: Unconfined"
    selinux = part(context, "seLinuxOptions")
    if not _is_among(SELINUX_TYPES, selinux.get("type") or ""):
        yield f"{place}.seLinuxOptions.type: {selinux['type']}"
    for name in ("user", "role"):
        if selinux.get(name):
            yield f"{place}.seLinuxOptions.{name}: {selinux[name]}"


def _container(place: str, container: Raw, pod: Raw) -> Iterator[str]:
    context = part(container, "securityContext")
    where = f"{place}.securityContext"
    if context.get("privileged") not in (None, False):
        yield f"{where}.privileged: {context['privileged']}"
    # The default allows it, and a set-uid program in the image would use it.
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}.allowPrivilegeEscalation: is not false"
    non_root = context.get("runAsNonRoot")
    if (pod.get("runAsNonRoot") if non_root is None else non_root) is not True:
        yield f"{where}.runAsNonRoot: is not true"
    if context.get("procMount") not in (None, "Default"):
        yield f"{where}.procMount: {context['procMount']}"
    added = part(context, "capabilities").get("add")
    for capability in added if isinstance(added, list | tuple) else ():
        if not _is_among(CAPABILITIES, capability):
            yield f"{where}.capabilities.add: {capability}"
    for port in items(container, "ports"):
        if port.get("hostPort"):
            yield f"{place}.ports: hostPort {port['hostPort']}"
    for name, handler in _handlers(container):
        for how in ("httpGet", "tcpSocket"):
            # The node's kubelet would connect to this host.
            if host := part(handler, how).get("host"):
                yield f"{place}.{name}.{how}.host: {host}"


def _handlers(container: Raw) -> Iterator[tuple[str, Raw]]:
    for name in _PROBES:
        yield name, part(container, name)
    for name in ("postStart", "preStop"):
        yield f"lifecycle.{name}", part(part(container, "lifecycle"), name)
