from __future__ import annotations

import ssl

from kubernetes.aio.client import Configuration

from deepicd.kubernetes.kinds import RUN
from deepicd.kubernetes.login import Login
from deepicd_operator.handlers import connection, settings
from deepicd_operator.kinds import WATCHED
from deepicd_operator.names import MANAGED_SELECTOR


def test_kopf_logs_in_as_the_client_does() -> None:
    configuration = Configuration(host="https://api:6443", api_key={"BearerToken": "bearer abc"}, ssl_ca_cert="/ca.crt")
    configuration.proxy = "http://proxy:3128"
    found = connection(Login(configuration, "research"))
    assert (found.server, found.ca_path, found.insecure) == ("https://api:6443", "/ca.crt", False)
    assert found.as_http_headers() == {"Authorization": "bearer abc"}
    assert (found.proxy_url, found.trust_env, found.default_namespace) == ("http://proxy:3128", True, "research")


def test_kopf_logs_in_with_a_certificate_if_there_is_no_token() -> None:
    configuration = Configuration(host="https://api", cert_file="/a.crt", key_file="/a.key", verify_ssl=False)
    found = connection(Login(configuration, "research"))
    assert (found.certificate_path, found.private_key_path, found.insecure) == ("/a.crt", "/a.key", True)
    assert found.as_http_headers() == {}


def test_kopf_asks_for_the_name_that_the_kubeconfig_gives_the_server() -> None:
    configuration = Configuration(host="https://10.0.0.1:6443")
    configuration.tls_server_name = "kube.example"
    context = connection(Login(configuration, "research")).as_ssl_context()
    wrapped = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="10.0.0.1")
    assert wrapped.server_hostname == "kube.example"


def test_all_runs_are_watched_and_of_other_kinds_only_the_operators_objects() -> None:
    selectors = settings().watching.label_selectors
    assert {selector.any_name for selector in selectors} == {use.kind.plural for use in WATCHED if use.kind is not RUN}
    assert set(selectors.values()) == {MANAGED_SELECTOR}
