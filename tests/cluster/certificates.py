"""Certificates of a control plane and its clients."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ADMIN_GROUP = "system:masters"
_LIFE = datetime.timedelta(days=2)


class Authority:
    """A certificate authority in a folder: `ca.crt`, and `NAME.crt`, `NAME.key` for each certificate it issued."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "deepicd-tests")])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        signed = (
            self._builder(self._name, self._key).add_extension(constraints, critical=True).add_extension(usage, critical=True)
        )
        _write(self.certificate, signed.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        _write(folder / "ca.key", _private(self._key))

    def server(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a server on loopback."""
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "10.0.0.1")]
        names += [x509.DNSName(each) for each in ("localhost", "kubernetes.default.svc")]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._give(name, subject, x509.SubjectAlternativeName(names), ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, user: str, *groups: str) -> tuple[Path, Path]:
        """Certificate and key that identify a user and their groups to the API server."""
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
            + [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        )
        return self._give(user.replace(":", "-"), subject, None, ExtendedKeyUsageOID.CLIENT_AUTH)

    def kubeconfig(self, server: str, user: str, *groups: str) -> Path:
        """A kubeconfig file for a user; `server` is `https://…`. The same user for another server is another file."""
        certificate, key = self.client(user, *groups)
        port = server.rpartition(":")[2]
        path = self.folder / f"{certificate.stem}-{port}.kubeconfig"
        identity = {"client-certificate-data": _inline(certificate), "client-key-data": _inline(key)}
        cluster = {"server": server, "certificate-authority-data": _inline(self.certificate)}
        content = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": identity}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }  # fmt: skip
        _write(path, json.dumps(content).encode())
        return path

    def _give(
        self, name: str, subject: x509.Name, names: x509.SubjectAlternativeName | None, use: x509.ObjectIdentifier
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate_path, key_path = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        _write(certificate_path, builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        _write(key_path, _private(key))
        return certificate_path, key_path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name, subject_name=subject, public_key=key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=now - datetime.timedelta(minutes=5),
            not_valid_after=now + _LIFE,
        )  # fmt: skip


def token_key(folder: Path) -> Path:
    """A private key that ServiceAccount tokens are signed with."""
    path = folder / "tokens.key"
    _write(path, _private(ec.generate_private_key(ec.SECP256R1())))
    return path


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
