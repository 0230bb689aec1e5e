from __future__ import annotations

from typing import Any

from deepicd.spec.kubernetes import API_VERSION, KIND
from deepicd_operator.cache import Cache, Key, awaits_start
from tests.unit.operator.builders import NAME, UID, JobMade, PodMade, spec

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


def test_a_run_comes_out_as_it_went_in_but_for_bookkeeping() -> None:
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


def test_jobs_of_an_earlier_run_of_the_same_name_are_not_this_runs() -> None:
    cache = Cache()
    cache.put(job())
    assert [each.name for each in cache.jobs(KEY, UID)] == [f"{NAME}-a1"]
    assert cache.jobs(KEY, "another") == ()


def test_an_object_without_the_runs_label_concerns_nobody() -> None:
    raw = job()
    raw["metadata"] = {**raw["metadata"], "labels": {}}
    assert Cache().put(raw) == (None, False)


def test_what_is_deleted_is_forgotten() -> None:
    cache = Cache()
    for each in (run(), job(), pod()):
        cache.put(each)
    assert cache.drop(job()) == KEY
    assert cache.jobs(KEY, UID) == ()
    assert len(cache.pods(KEY)) == 1
    cache.drop(run())
    assert cache.run(KEY) is None
    assert cache.runs() == []


def test_a_full_list_takes_away_what_it_does_not_have() -> None:
    cache = Cache()
    cache.put(run())
    cache.put(job())
    assert cache.keep_only("Job", [job()]) == []
    assert cache.keep_only("Job", []) == [KEY]
    assert cache.jobs(KEY, UID) == ()
    assert cache.keep_only("Job", []) == []


def test_a_list_of_one_namespace_says_nothing_about_others() -> None:
    cache = Cache()
    cache.put(job())
    assert cache.keep_only("Job", [], ["elsewhere"]) == []
    assert len(cache.jobs(KEY, UID)) == 1


def test_a_report_is_read_only_from_the_runs_own_config_map() -> None:
    cache = Cache()
    raw = {**job(), "kind": "ConfigMap", "data": {"progress.json": "{}"}}
    raw["metadata"] = {**raw["metadata"], "name": "report"}
    cache.put(raw)
    assert cache.reports(KEY, "report", UID) == {"progress.json": "{}"}
    assert cache.reports(KEY, "report", "another") is None


def test_a_run_awaits_its_start_until_the_operator_has_written_its_status() -> None:
    assert awaits_start(run())
    assert awaits_start({**run(), "status": {"observedGeneration": -1, "state": "Pending"}})  # the default of the CRD
    assert not awaits_start({**run(), "status": {"observedGeneration": 1, "state": "Pending"}})
    assert not awaits_start(job())
