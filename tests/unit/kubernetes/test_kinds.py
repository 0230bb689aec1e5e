from __future__ import annotations

from deepicd.kubernetes.kinds import POD, RUN, Kind


def test_kinds_of_the_core_and_of_groups_have_their_own_paths() -> None:
    assert POD.path("research", "a", "log") == "/api/v1/namespaces/research/pods/a/log"
    assert RUN.path("research") == "/apis/deepicd.io/v1alpha1/namespaces/research/deepicdruns"
    assert RUN.path() == "/apis/deepicd.io/v1alpha1/deepicdruns"
    assert Kind("Node", "nodes", namespaced=False).path(None, "n") == "/api/v1/nodes/n"


def test_a_typed_name_cannot_change_the_path() -> None:
    assert RUN.path("research", "../pods").endswith("/deepicdruns/..%2Fpods")
