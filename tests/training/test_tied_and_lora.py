"""Models with tied embeddings, and adapters: what is trained is what vLLM answers with, what is stored and what is resumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepicd.cli.main import cli
from deepicd.run_layout import RunLayout
from deepicd.spec.load import load
from deepicd.training import base_model
from deepicd.training.sft_validation import SftEnd
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import all_steps
from tests.training.deepicd_process import DeepicdProcess
from tests.training.runs import GRPO, SFT, TINY, write_run, write_traces

pytestmark = [pytest.mark.training, pytest.mark.timeout(1500)]

PROMPT = {"user": "{note}\nReason in <think>, then name the code in <diagnosis>."}
STEPS = {"sft": 60, "grpo": 6}
VALIDATED = 10
"""Steps between validations of SFT."""
# Two updates a step, so large that weights that were not sent, or sent wrongly, would show in vLLM's probabilities.
FEW_GRPO = {
    **GRPO, "maxSteps": STEPS["grpo"], "saveEverySteps": 2, "learningRate": 3e-3, "warmupSteps": 0, "ppoMiniBatchSize": 2,
    "maxPromptTokens": 160, "overrides": ["actor_rollout_ref.rollout.calculate_log_probs=True"],
}  # fmt: skip
# Both ways to form batches: examples packed in a row, and padded ones, as many as have 512 tokens.
PACKED: dict[str, Any] = {"removePadding": True}
PADDED: dict[str, Any] = {"removePadding": False, "maxTokensPerGpu": 512, "loss": "dapo", "keepRollouts": 6}
BREVITY = """
from collections.abc import Sequence

from deepicd.rewards import Sample


def brevity(samples: Sequence[Sample]) -> list[float]:
    return [1 / (1 + len(sample.completion)) for sample in samples]
"""
WAYS = [
    pytest.param((None, PACKED), id="all weights", marks=pytest.mark.long),
    pytest.param(({"rank": 8, "alpha": 32}, PADDED), id="adapters"),
]


@dataclass
class Story:
    """A run of SFT, which is killed, and GRPO, of which a rank is killed; each is resumed."""

    folder: Path
    base: Path
    """Folder of the model that SFT started from."""
    batches: dict[str, Any]
    stopped_at: dict[str, int]
    """Steps of the last checkpoints of the stages in which it was interrupted."""
    left_behind: list[str]
    """After both."""
    crashed: int
    """Exit code without the rank."""
    resumed_with: list[int]
    """Steps of GRPO after it was resumed."""
    code: int

    def model(self, stage: str) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folder / "stages" / stage / "model")

    def metrics(self, name: str) -> list[float]:
        """A metric of verl's, by step of GRPO, over all launches."""
        lines = [
            json.loads(line)
            for path in sorted((self.folder / "stages" / "grpo" / "metrics").glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        found = {line["step"]: line["data"][name] for line in lines if name in line["data"]}
        return [found[step] for step in sorted(found)]


def tied_model(cohort: Path, folder: Path) -> Path:
    """A tiny Qwen2 model with tied embeddings, as the smaller Qwen2.5 and Llama 3.2 have them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    spec = load(write_run(folder / "tiny.yaml", "tiny", {"prepared": str(cohort)}, {"evaluate": {}}, model={"tiny": TINY}))
    base_model.make(spec.spec.model, cohort / "train.parquet", folder)
    config = AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = True
    config.initializer_range = 0.2  # else all tokens are about as likely, and adapters change little
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=WAYS)
def story(request: pytest.FixtureRequest, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    lora, batches = request.param
    home = tmp_path_factory.mktemp("tied")
    base = home / "base"
    base.mkdir()
    tied_model(cohort, base)
    traces = write_traces(home / "traces.jsonl", cohort)
    sft = {**SFT, "maxSteps": STEPS["sft"], "saveEverySteps": STEPS["sft"] // 3, "removePadding": True, "learningRate": 5e-3,
           "validation": {"heldOut": 0.2, "everySteps": VALIDATED, "patience": STEPS["sft"]}}  # fmt: skip
    model = {"path": str(base), "dtype": "float32", "prompt": PROMPT, "lora": lora}
    data = {"prepared": str(cohort), "traces": str(traces)}
    (home / "terms.py").write_text(BREVITY)
    terms = {"brevity": {"file": str(home / "terms.py"), "function": "brevity"}}
    reward = {"preset": "deepicd", "terms": terms, "weights": {"brevity": 0.2}}
    stages_of_run = {"sft": sft, "grpo": {**FEW_GRPO, **batches}, "evaluate": None}
    run = write_run(home / "run.yaml", "tied", data, stages_of_run, model=model, reward=reward)
    command = ("grpo", str(run), "--dir", str(home / "run"))
    stages = RunLayout(home / "run")
    killed = DeepicdProcess(*command)
    killed.wait_for_step("sft", STEPS["sft"] // 3 + 1)
    tree = killed.tree()
    killed.process.kill()
    killed.finish()
    left_behind = killed.left_behind(tree)
    stopped_at = {"sft": StageFiles(stages.stage("sft").folder).checkpoints.last_step}

    crashed = DeepicdProcess(*command)
    crashed.wait_for_step("grpo", 3)
    tree = crashed.tree()
    next(child for child in tree if "".join(child.cmdline()[:1]).startswith("ray::WorkerDict")).kill()
    code = crashed.finish()
    left_behind += crashed.left_behind(tree)
    stopped_at["grpo"] = StageFiles(stages.stage("grpo").folder).checkpoints.last_step

    last = DeepicdProcess(*command)
    ended = last.finish()
    return Story(home / "run", base, batches, stopped_at, left_behind, code, last.steps("grpo"), ended)


def test_nothing_stays_behind_after_kill_9_or_a_crash(story: Story) -> None:
    assert story.left_behind == []


def test_a_killed_rank_ends_the_run_as_a_crash_and_not_as_a_stall(story: Story) -> None:
    assert story.crashed == 70


def test_an_interrupted_run_resumes_from_its_checkpoints(story: Story) -> None:
    assert all(0 < story.stopped_at[stage] < STEPS[stage] for stage in story.stopped_at)
    assert story.resumed_with == list(range(story.stopped_at["grpo"] + 1, STEPS["grpo"] + 1))
    assert story.code == 0


def test_a_step_that_was_made_twice_is_in_the_curves_once(story: Story) -> None:
    steps = [row.step for row in all_steps(story.folder / "stages" / "grpo" / "metrics")]
    assert [step for step in steps if step > 0] == list(range(1, STEPS["grpo"] + 1))


def test_sft_ends_with_the_weights_of_its_lowest_loss_on_held_out_patients(story: Story) -> None:
    stage = RunLayout(story.folder).stage("sft")
    losses = {row.step: row.validation_loss for row in all_steps(stage.metrics) if row.validation_loss is not None}
    assert list(losses) == list(range(VALIDATED, STEPS["sft"] + 1, VALIDATED))
    assert losses[VALIDATED] > min(losses.values())
    end = SftEnd.read(stage.sft_end)
    assert end is not None
    assert (end.step, end.steps, end.reason, end.loss) == (STEPS["sft"], STEPS["sft"], None, min(losses.values()))
    assert losses[end.weights_of] == end.loss


def test_the_completions_of_every_step_are_kept_over_a_crash_with_the_term_of_ones_own(story: Story) -> None:
    shown = CliRunner().invoke(cli, ["samples", str(story.folder), "--all", "--json"])
    keeps = "keepRollouts" in story.batches
    assert shown.exit_code == (0 if keeps else 64), shown.output
    kept = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [one["step"] for one in kept] == [step for step in range(1, STEPS["grpo"] + 1) for _ in range(6) if keeps]
    for one in kept:
        assert one["terms"]["brevity"] == pytest.approx(1 / (1 + len(one["completion"])))


def test_vllm_answers_with_the_weights_that_are_trained(story: Story) -> None:
    differences = story.metrics("rollout_corr/log_ppl_abs_diff")
    assert len(differences) == STEPS["grpo"]
    # By how much a step's updates change the log-probabilities: without them vLLM would differ by as much.
    changes = [abs(change) for change in story.metrics("actor/ppo_kl")]
    assert max(differences) < 1e-5 < 1e-3 < max(changes[:-1])


def test_packed_sequences_have_an_attention_without_a_mask(story: Story) -> None:
    chosen = "attention of packed sequences: PyTorch's attention, sequence by sequence"
    found = {stage for stage in ("sft", "grpo") if chosen in (story.folder / "stages" / stage / "training.log").read_text()}
    assert found == ({"sft", "grpo"} if story.batches["removePadding"] else {"sft"})


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_an_exported_model_is_tied_and_whole(story: Story, stage: str) -> None:
    from safetensors.torch import load_file

    names = load_file(story.folder / "stages" / stage / "model" / "model.safetensors").keys()
    assert names == load_file(story.base / "model.safetensors").keys()
    model = story.model(stage)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_stage_changes_what_it_trains(story: Story, stage: str) -> None:
    from safetensors.torch import load_file

    start = story.base if stage == "sft" else story.folder / "stages" / "sft" / "model"
    before = load_file(start / "model.safetensors")
    after = load_file(story.folder / "stages" / stage / "model" / "model.safetensors")
    changed = {name for name, tensor in after.items() if (tensor - before[name]).abs().max() > 1e-4}
    linear = {name for name in after if name.endswith("proj.weight")}
    adapted = load(story.folder / "run.yaml").spec.model.lora is not None
    assert changed == linear if adapted else changed >= linear | {"model.embed_tokens.weight"}
