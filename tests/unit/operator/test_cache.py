from __future__ import annotations

from typing import Any

from deepicd.spec.progress import read_progress, write
from deepicd.spec.resource_names import API_VERSION, KIND
from deepicd_operator.cache import Cache, Key, identity, is_new_run
from tests.unit.operator.builders import NAME, UID, JobMade, PodMade, RayJobMade, at, report, spec

KEY = Key("research", NAME)


def placed(raw: dict[str, Any], version: int) -> dict[str, Any]:
    return {**raw, "metadata": {**raw["metadata"], "namespace": "research", "resourceVersion": str(version)}}


def run(version: int = 1, uid: str = UID) -> dict[str, Any]:
    metadata = {"name": NAME, "uid": uid, "generation": 1, "managedFields": [{"manager": "kubectl"}]}
    return placed({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec(), "status": {}}, version)


def job(version: int = 1) -> dict[str, Any]:
    return placed(JobMade().raw, version)


def pod(version: int = 1) -> dict[str, Any]:
    return placed({**PodMade().raw, "kind": "Pod"}, version)


def test_a_cached_run_is_unchanged_except_for_bookkeeping() -> None:
    cache = Cache()
    assert cache.put(run()) == (KEY, True)
    kept = cache.run(KEY)
    assert kept["spec"] == spec()
    assert kept["metadata"]["resourceVersion"] == "1"
    assert "managedFields" not in kept["metadata"]


def test_an_older_or_equal_version_is_no_news() -> None:
    cache = Cache()
    cache.put(job(5))
    assert cache.put(job(5)) == (KEY, False)
    assert cache.put(job(4)) == (KEY, False)
    assert cache.put(job(6)) == (KEY, True)


def test_jobs_of_an_earlier_run_of_the_same_name_are_ignored() -> None:
    cache = Cache()
    cache.put(job())
    assert [each.name for each in cache.jobs(KEY, UID)] == [f"{NAME}-a1"]
    assert cache.jobs(KEY, "another") == ()


def test_pods_of_an_earlier_run_of_the_same_name_are_ignored() -> None:
    cache = Cache()
    old = placed({**PodMade().raw, "kind": "Pod"}, 1)
    old["metadata"]["ownerReferences"] = [{"kind": "Job", "uid": "job-of-the-earlier-run", "controller": True}]
    cache.put(job())
    cache.put(old)
    assert cache.pods(KEY, UID) == ()
    cache.put({**pod(2), "metadata": {**pod(2)["metadata"], "name": "new"}})
    assert [each.name for each in cache.pods(KEY, UID)] == ["new"]


def test_pods_of_a_ray_cluster_are_those_of_the_cluster_that_the_rayjob_names() -> None:
    cache = Cache()
    rayjob = RayJobMade().is_at("Running")
    rayjob.raw["status"]["rayClusterName"] = "cluster-x"
    cache.put(placed(rayjob.raw, 1))
    for name in ("cluster-x", "cluster-of-the-earlier-run"):
        of_ray = PodMade().of_ray("head")
        of_ray.raw["metadata"] |= {"name": name, "ownerReferences": []}
        of_ray.raw["metadata"]["labels"]["ray.io/cluster"] = name
        cache.put(placed({**of_ray.raw, "kind": "Pod"}, 1))
    assert [each.name for each in cache.pods(KEY, UID)] == ["cluster-x"]
    assert cache.orphans(KEY, UID) == ()


def test_a_pod_of_the_run_that_nothing_owns_is_an_orphan() -> None:
    cache = Cache()
    orphan = pod()
    orphan["metadata"] = {**orphan["metadata"], "ownerReferences": []}
    cache.put(orphan)
    assert len(cache.orphans(KEY, UID)) == 1
    assert cache.orphans(KEY, "another") == ()
    assert cache.pods(KEY, UID) == ()


def test_a_late_deletion_event_does_not_remove_a_newer_object_of_that_name() -> None:
    cache = Cache()
    cache.put(run(5, "the-new-run"))
    cache.put(job(5))
    assert cache.drop(run(4)) is None
    assert cache.drop(job(4)) is None
    assert cache.run(KEY)["metadata"]["uid"] == "the-new-run"
    assert len(cache.jobs(KEY, UID)) == 1


def test_an_object_without_the_runs_label_concerns_no_run() -> None:
    raw = job()
    raw["metadata"] = {**raw["metadata"], "labels": {}}
    assert Cache().put(raw) == (None, False)


def test_a_deleted_object_is_forgotten() -> None:
    cache = Cache()
    for each in (run(), job(), pod()):
        cache.put(each)
    assert len(cache.pods(KEY, UID)) == 1
    assert cache.drop(job()) == KEY
    assert cache.jobs(KEY, UID) == ()
    assert cache.pods(KEY, UID) == ()
    cache.drop(run())
    assert cache.run(KEY) is None
    assert cache.runs() == []


def test_a_full_list_removes_objects_that_it_lacks() -> None:
    cache = Cache()
    cache.put(run())
    cache.put(job())
    assert cache.keep_only("Job", {identity(job())}, cache.taken) == []
    assert cache.keep_only("Job", [], cache.taken) == [KEY]
    assert cache.jobs(KEY, UID) == ()
    assert cache.keep_only("Job", [], cache.taken) == []


def test_a_full_list_keeps_objects_seen_after_it_was_requested() -> None:
    cache = Cache()
    listed_after = cache.taken
    for each in (run(), job()):
        cache.put(each)
    assert cache.keep_only("Job", [], listed_after) == []
    assert cache.keep_only(KIND, [], listed_after) == []
    assert len(cache.jobs(KEY, UID)) == 1
    assert cache.runs() == [KEY]


def test_a_full_list_replaces_versions_that_a_restored_store_lacks() -> None:
    cache = Cache()
    for each in (run(500, "before-the-restore"), job(500), pod(500)):
        cache.put(each)
    listed_after = cache.taken
    restored = (run(400, "restored"), {**job(400), "status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    assert [cache.put(each, listed_after) for each in restored] == [(KEY, True), (KEY, True)]
    assert cache.run(KEY)["metadata"]["uid"] == "restored"
    assert [each.succeeded for each in cache.jobs(KEY, UID)] == [True]
    assert cache.keep_only("Pod", [], listed_after) == [KEY]
    # From then on, versions count as usual.
    assert cache.put(job(399)) == (KEY, False)
    assert cache.put(job(401)) == (KEY, True)


def test_a_full_list_does_not_undo_watch_events_since_it_was_requested() -> None:
    cache = Cache()
    cache.put(job(5))
    listed_after = cache.taken
    cache.put(job(7))
    assert cache.put(job(6), listed_after) == (KEY, False)


def test_a_list_of_one_namespace_does_not_affect_others() -> None:
    cache = Cache()
    cache.put(job())
    assert cache.keep_only("Job", [], cache.taken, ["elsewhere"]) == []
    assert len(cache.jobs(KEY, UID)) == 1


def test_a_repeated_report_is_stored_for_its_time_and_is_no_news() -> None:
    cache = Cache()

    def reported(version: int, **fields: Any) -> dict[str, Any]:
        raw = {**job(version), "kind": "ConfigMap", "data": {"progress.json": write(report(at(version), **fields))}}
        return {**raw, "metadata": {**raw["metadata"], "name": "report"}}

    assert cache.put(reported(1, step=3)) == (KEY, True)
    assert cache.put(reported(2, step=3)) == (KEY, False)
    assert read_progress((cache.reports(KEY, "report", UID) or {})["progress.json"]) == report(at(2), step=3)
    assert cache.put(reported(3, step=4)) == (KEY, True)


def test_a_report_is_read_only_from_the_runs_own_config_map() -> None:
    cache = Cache()
    raw = {**job(), "kind": "ConfigMap", "data": {"progress.json": "{}"}}
    raw["metadata"] = {**raw["metadata"], "name": "report"}
    cache.put(raw)
    assert cache.reports(KEY, "report", UID) == {"progress.json": "{}"}
    assert cache.reports(KEY, "report", "another") is None


def test_a_run_is_new_until_the_operator_has_written_its_status() -> None:
    assert is_new_run(run())
    assert is_new_run({**run(), "status": {"observedGeneration": -1, "state": "Pending"}})  # the default of the CRD
    assert not is_new_run({**run(), "status": {"observedGeneration": 1, "state": "Pending"}})
    assert not is_new_run(job())
