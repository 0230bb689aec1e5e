from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts.layout import CheckpointRef, Committed, ModelRef, manifest_key
from deepicd.artifacts.manifest import Manifest, build, check_path, parse
from deepicd.artifacts.store.base import DamagedError, Transferred
from deepicd.run_layout import MODELS, TRAINING_STAGES

REF = CheckpointRef(1, "grpo", 50)
KEY = "attempts/1/checkpoints/step-000050/manifest.json"
MODEL_KEY = "attempts/1/models/base/manifest.json"
DIGEST = "0" * 64
VALID: dict[str, Any] = {
    "format": 1, "kind": "checkpoint", "run": "quickstart", "attempt": 1, "stage": "grpo", "step": 50,
    "files": [{"path": "a/b.pt", "size": 3, "sha256": DIGEST}, {"path": "data.pt", "size": 0, "sha256": DIGEST}],
    "specDigest": "", "versions": {"verl": "0.9.1"}, "metrics": {"reward": 0.5}, "created": "2026-01-31T12:00:00Z",
}  # fmt: skip

names = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"), min_size=1).filter(
    lambda name: name not in (".", "..", "manifest.json")
)
files = st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), st.integers(0, 2**50), min_size=1)
refs = st.one_of(
    st.builds(CheckpointRef, st.integers(1, 99), st.sampled_from(TRAINING_STAGES), st.integers(1, 10**7)),
    st.builds(ModelRef, st.integers(1, 99), st.sampled_from(MODELS)),
)


@given(ref=refs, sizes=files, metrics=st.none() | st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_manifest_is_read_back_as_it_was_written(
    ref: Committed, sizes: dict[str, int], metrics: dict[str, float] | None
) -> None:
    sent = [Transferred(f"{ref.folder}/{path}", size, DIGEST) for path, size in sizes.items()]
    made = build(
        ref, sent, run="r", spec_digest="d", versions={"verl": "1"}, metrics=metrics,
        created=datetime(2026, 1, 31, tzinfo=UTC),
    )  # fmt: skip
    again = parse(made.to_json(), manifest_key(ref))
    assert again == made
    assert again.ref == ref
    assert sorted(again.transfers(), key=lambda file: file.key) == sorted(sent, key=lambda file: file.key)


def test_the_documented_form() -> None:
    assert json.loads(parse(json.dumps(VALID).encode(), KEY).to_json()) == VALID


def changed(**fields: Any) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


def file(**fields: Any) -> dict[str, Any]:
    return {"path": "a", "size": 1, "sha256": DIGEST, **fields}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "format: is null"),
        (changed(format=2), "format: is 2, this deepicd reads 1"),
        (changed(format=True), "format: is true"),
        (changed(kind="folder"), "kind: "),
        (changed(attempt=0), "attempt: "),
        (changed(attempt="1"), "attempt: "),
        (changed(step=1.5), "step: "),
        (changed(step=None), "kind: a checkpoint of stage grpo with step None is not possible"),
        (changed(stage="base"), "kind: a checkpoint of stage base"),
        (changed(kind="model"), "kind: a model of stage grpo with step 50"),
        (changed(files=[]), "files: "),
        (changed(files=[file(size=-1)]), "files.0.size: "),
        (changed(files=[file(sha256="AB")]), "files.0.sha256: "),
        (changed(files=[file(path="b"), file()]), "files: paths are not sorted and unique"),
        (changed(files=[file(), file()]), "files: paths are not sorted and unique"),
        (changed(files=[file(mode=1)]), "files.0.mode: "),
        (changed(metrics={"reward": "high"}), "metrics.reward: "),
        (changed(metrics={"reward": float("nan")}), "metrics.reward: "),
        (changed(created="yesterday"), "created: "),
        (changed(created="2026-01-31T12:00:00"), "created: "),
        (changed(extra=1), "extra: "),
        (json.dumps({name: value for name, value in VALID.items() if name != "run"}).encode(), "run: "),
        (changed(step=60), "is the manifest of attempts/1/checkpoints/step-000060"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_one_line_that_names_the_field(content: bytes, names: str) -> None:
    with pytest.raises(DamagedError) as caught:
        parse(content, KEY)
    assert str(caught.value).startswith(f"{KEY}: {names}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", ".", "..", "a\\b", "a\0", "a\nb", "manifest.json"]
)
def test_a_path_stays_inside_the_folder(path: str) -> None:
    with pytest.raises(ValueError, match="is not the path of a file inside the folder"):
        check_path(path)
    with pytest.raises(DamagedError):
        parse(changed(files=[file(path=path)]), KEY)


@given(st.binary())
def test_no_content_crashes_the_reader(content: bytes) -> None:
    with pytest.raises(DamagedError):
        parse(content, KEY)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_value_of_a_field_crashes_the_reader(value: Any) -> None:
    for field in VALID:
        try:
            read = parse(changed(**{field: value}), KEY)
        except DamagedError:
            continue
        assert isinstance(read, Manifest)


def test_a_model_has_no_step() -> None:
    made = parse(changed(kind="model", stage="base", step=None, metrics=None), MODEL_KEY)
    assert isinstance(made, Manifest)
    assert made.ref == ModelRef(1, "base")
