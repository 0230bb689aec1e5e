"""What only a GPU shows, in under eight minutes on one GPU of any size: `make check-gpu`.

    python benchmarks/check_gpu.py [--out FOLDER] [--minutes 8] [--cpu]

Trains a Qwen2 model of random weights, scaled to the GPU's memory, in bfloat16: SFT, GRPO with vLLM's CUDA graphs, sleep and
wake-up, weight synchronisation, a stop, a resume, the evaluation, a prediction; then compares attention with plain attention,
trains adapters, trains with a judge on the same GPU, and times bare verl. Each part is passed, failed, or not run, with its
reason. --cpu shrinks the model, for a trial without a GPU. FOLDER gets check-gpu.json and the runs; the exit code is 1 if a
part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import yaml

Figures = dict[str, Any]

DEEPICD = str(Path(sys.executable).with_name("deepicd"))
STEPS, STOP_AFTER = 6, 1
SMALL = {"vocabulary": 1400, "hiddenSize": 128, "intermediateSize": 384, "layers": 2, "heads": 4}
BYTES_PER_PARAMETER = 16
"""Of weights, gradients and optimizer in float32."""
SHARE = 0.25
"""Of the GPU's memory that those may take: enough to see, little enough to be quick."""
MOST_LAYERS = 24
LARGEST_DIFFERENCE = 0.05
"""Of the trainer's and vLLM's probability of a token, on average; more, and GRPO learns from another model's completions."""


class Failed(Exception):
    """A part did not show what it is to show."""


class Checks:
    """Runs the parts while there is time, and keeps what each showed."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder
        self.results: list[Figures] = []
        self._end = time.monotonic() + 60 * minutes

    def run(self, name: str, seconds: float, part: Callable[[], Figures], *, needs: str | None = None) -> None:
        """Run a part that takes about `seconds`, unless the part that it `needs` did not pass."""
        if needs is not None and self.state(needs) != "passed":
            self._keep(name, "not run", 0, f"needs {needs}", {})
        elif time.monotonic() + seconds > self._end:
            self._keep(name, "not run", 0, f"no time: takes about {seconds:.0f} s", {})
        else:
            began = time.monotonic()
            try:
                figures, state, why = part(), "passed", ""
            except Failed as failure:
                figures, state, why = {}, "failed", str(failure)
            self._keep(name, state, time.monotonic() - began, why, figures)

    def state(self, name: str) -> str:
        """`passed`, `failed` or `not run`."""
        return next(str(result["state"]) for result in self.results if result["part"] == name)

    def _keep(self, name: str, state: str, seconds: float, why: str, figures: Figures) -> None:
        found = {"part": name, "state": state, "seconds": round(seconds, 1), "why": why, "figures": figures}
        self.results.append(found)
        (self.folder / "check-gpu.json").write_text(json.dumps(self.results, indent=2))
        shown = ", ".join(f"{title} {_short(value)}" for title, value in figures.items())
        print(f"{name:<20}{state:<9}{seconds:>5.0f} s  {why or shown}", flush=True)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def machine() -> Figures:
    """Device, driver and versions."""
    import torch
    import vllm

    if not torch.cuda.is_available():
        raise Failed("torch sees no GPU: check the driver (nvidia-smi), or give --cpu")
    properties = torch.cuda.get_device_properties(0)
    return {
        "GPU": properties.name, "GiB": properties.total_memory / 2**30, "CUDA": torch.version.cuda, "torch": torch.__version__,
        "vLLM": vllm.__version__,
    }  # fmt: skip


def tiny_of(memory: float) -> Figures:
    """A Qwen2 model whose training takes about `SHARE` of `memory` bytes, with at most 24 layers of width 1,024."""
    hidden, intermediate, vocabulary = 1024, 2816, 8000
    layer = 4 * hidden**2 + 3 * hidden * intermediate
    layers = int((SHARE * memory / BYTES_PER_PARAMETER - 2 * vocabulary * hidden) / layer)
    return {
        "vocabulary": vocabulary, "hiddenSize": hidden, "intermediateSize": intermediate,
        "layers": max(2, min(layers, MOST_LAYERS)), "heads": 16,
    }  # fmt: skip


def write_run(path: Path, model: Figures, *, cpu: bool, steps: int, stages: tuple[str, ...], **spec: Any) -> Path:
    """A run.yaml named after its file, with more of its `spec`. Sequences have the card's lengths on a GPU."""
    prompt, response = (128, 48) if cpu else (2048, 512)
    sft = {"trainBatchSize": 16, "maxSteps": 40 if cpu else 20, "learningRate": 1e-3, "maxTokens": prompt + response,
           "maxTokensPerGpu": prompt + response if cpu else 8192}  # fmt: skip
    grpo = {
        "trainBatchSize": 8, "ppoMiniBatchSize": 8, "rollouts": 4 if cpu else 8,
        "maxSteps": steps, "saveEverySteps": steps,
        "maxPromptTokens": prompt, "maxResponseTokens": response, "maxTokensPerGpu": prompt + response if cpu else 8192,
        "learningRate": 1e-4,
    }  # fmt: skip
    every = {"sft": sft, "grpo": grpo, "evaluate": {"maxAdmissions": 32, "samples": 1, "base": False}}
    if cpu:
        for stage in (sft, grpo):
            stage |= {"torchCompile": False, "gradientCheckpointing": False}
    content = {
        "apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": path.stem},
        "spec": {
            "model": {"dtype": "float32" if cpu else "bfloat16", **model},
            "data": {"synthetic": {"admissions": 400, "codes": 24, "seed": 0}},
            "stages": {name: every.get(name) if name in stages else None for name in every},
            "compute": {"gpus": 1},
            **spec,
        },
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return path


def deepicd(*arguments: str | Path, stop_after: int | None = None, limit: float = 420) -> list[Figures]:
    """The JSON log of `deepicd`; with `stop_after`, SIGTERM is sent when that GRPO step has ended.

    Raises:
        Failed: it ends with an error, or not in time.
    """
    process = subprocess.Popen(
        [DEEPICD, *map(str, arguments), "--json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    deadline = time.monotonic() + limit
    lines: list[Figures] = []
    said = ""
    for line in process.stdout:
        if not line.startswith("{"):
            said = line.strip() or said
            continue
        lines.append(json.loads(line))
        newest = lines[-1]
        if newest.get("event") == "step" and newest["stage"] == "grpo" and newest["step"] == stop_after:
            process.send_signal(signal.SIGTERM)
        if time.monotonic() > deadline:
            process.send_signal(signal.SIGTERM)
    code = process.wait()
    if code != (143 if stop_after is not None else 0):
        raise Failed(f"deepicd {arguments[0]} ended with exit code {code}: {said}")
    return lines


def curves(run: Path, stage: str) -> list[Figures]:
    """The steps of a stage, as the evaluation has gathered them."""
    rows = [json.loads(line) for line in (run / "evaluate" / "curves.jsonl").read_text().splitlines()]
    return [row for row in rows if row["stage"] == stage and row["step"] > 0]


def stopped(run: Path, folder: Path) -> Figures:
    """Prepare, SFT, and GRPO up to a stop."""
    lines = deepicd("run", run, "--dir", folder, stop_after=STOP_AFTER)
    steps = [line["step"] for line in lines if line.get("event") == "step" and line["stage"] == "grpo"]
    return {"GRPO steps": len(steps)}


def resumed(run: Path, folder: Path, *, cpu: bool) -> Figures:
    """GRPO from the checkpoint to its end, and the evaluation."""
    lines = deepicd("run", run, "--dir", folder)
    first = next(line["step"] for line in lines if line.get("event") == "step" and line["stage"] == "grpo")
    rows = curves(folder, "grpo")
    if first <= STOP_AFTER or [row["step"] for row in rows] != list(range(1, STEPS + 1)):
        raise Failed(f"resumed at step {first} after a stop at {STOP_AFTER}, with steps {[row['step'] for row in rows]}")
    losses = [row["loss"] for row in curves(folder, "sft")]
    if not sum(losses[-5:]) < sum(losses[:5]):
        raise Failed(f"SFT's loss does not fall: {losses[0]:.3g} at first, {losses[-1]:.3g} at last")
    difference = max(row["rolloutDifference"] or 0.0 for row in rows)
    if difference > LARGEST_DIFFERENCE:
        raise Failed(f"trainer and vLLM differ by {difference:.2g} in a token's probability: weights are not synchronised")
    rate = {
        "s a step": median(row["seconds"] for row in rows[1:]),
        "tokens/s": median(row["tokensPerSecond"] for row in rows[1:]),
        "rollout difference": difference,
    }
    return rate if cpu else rate | {"MFU": rows[-1]["mfu"], "GiB": rows[-1]["gpuMemory"]}


def attention(dtype: str, heads: int, hidden: int) -> Figures:
    """Which attention packed sequences have, compared with plain attention."""
    import torch

    from deepicd.training.packed_attention import choose

    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = choose(device, getattr(torch, dtype), hidden // heads)
    return {"attention": found.title, "refused": "; ".join(found.refused) or "none"}


def prediction(folder: Path) -> Figures:
    """`deepicd predict` with the trained model."""
    notes = [json.dumps({"id": number, "note": "Chief Complaint: chest pain. Troponin raised."}) for number in range(8)]
    command = [DEEPICD, "predict", "--model", str(folder / "stages" / "grpo" / "model")]
    done = subprocess.run(command, input="\n".join(notes), capture_output=True, text=True, check=False, timeout=240)
    if done.returncode or len(done.stdout.splitlines()) != len(notes):
        raise Failed(f"predict ended with exit code {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
    return {"answers": len(notes)}


def adapters(run: Path, folder: Path) -> Figures:
    """Two GRPO steps with adapters, whose merged model is opened and compared."""
    deepicd("grpo", run, "--dir", folder)
    if not (folder / "stages" / "grpo" / "model" / "config.json").is_file():
        raise Failed("no merged model was exported")
    return {"GRPO steps": 2}


def colocated_judge(run: Path, folder: Path) -> Figures:
    """Two GRPO steps whose judge wakes while the policy sleeps, and the reverse, on one GPU."""
    from deepicd.rewards.judge import watch
    from deepicd.run_layout import RunLayout

    deepicd("grpo", run, "--dir", folder)
    stage = RunLayout(folder).stage("grpo")
    judged = list(watch.read_file(stage.judged).values())
    missing = sum(step.missing for step in judged)
    if missing or sum(step.completions for step in judged) == 0:
        raise Failed(f"{missing} verdicts are missing: see {stage.judge_log}")
    lines = [line for path in sorted(stage.metrics.glob("launch-*.jsonl")) for line in path.read_text().splitlines()]
    rows = [json.loads(line)["data"] for line in lines]
    seconds = [row["timing_s/reward"] for row in rows if "timing_s/reward" in row]
    if len(seconds) != 2:
        raise Failed(f"the judge was asked in {len(seconds)} steps of 2")
    return {"verdicts": sum(step.completions for step in judged), "s of judging a step": seconds[-1]}


def bare_verl(folder: Path) -> Figures:
    """Seconds a step against bare verl with the same overrides; see benchmarks/training.py."""
    script = Path(__file__).with_name("training.py")
    command = [sys.executable, str(script), str(folder), "--rounds", "1", "--steps", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["no message"])[-1])
    return {"against bare verl": done.stdout.strip().splitlines()[-1]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("runs/check-gpu"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    folder: Path = options.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"{folder} is not empty: give another --out")
    checks = Checks(folder, options.minutes)
    tiny = SMALL
    if not options.cpu:
        checks.run("machine", 20, machine)
        if checks.state("machine") != "passed":
            return 1
        tiny = tiny_of(checks.results[0]["figures"]["GiB"] * 2**30)
    cpu, dtype = options.cpu, "float32" if options.cpu else "bfloat16"
    whole = folder / "whole"
    run = write_run(folder / "whole.yaml", {"tiny": tiny}, cpu=cpu, steps=STEPS, stages=("sft", "grpo", "evaluate"))
    checks.run("attention", 10, lambda: attention(dtype, tiny["heads"], tiny["hiddenSize"]))
    checks.run("SFT, GRPO, stop", 120, lambda: stopped(run, whole))
    checks.run("resume, evaluation", 120, lambda: resumed(run, whole, cpu=cpu), needs="SFT, GRPO, stop")
    checks.run("prediction", 60, lambda: prediction(whole), needs="resume, evaluation")
    lora = write_run(
        folder / "adapters.yaml", {"path": str(whole / "stages" / "sft" / "model"), "lora": {"rank": 16, "alpha": 16}},
        cpu=cpu, steps=2, stages=("grpo",),
    )  # fmt: skip
    checks.run("adapters", 90, lambda: adapters(lora, folder / "adapters"), needs="SFT, GRPO, stop")
    sft = str(whole / "stages" / "sft" / "model")
    colocated = {"weights": {"judge": 0.2}, "judge": {"model": sft, "placement": "colocated"}}
    judged = write_run(folder / "judged.yaml", {"path": sft}, cpu=cpu, steps=2, stages=("grpo",), reward=colocated)
    checks.run("colocated judge", 120, lambda: colocated_judge(judged, folder / "judged"), needs="SFT, GRPO, stop")
    checks.run("bare verl", 150, lambda: bare_verl(whole), needs="resume, evaluation")
    print(f"{folder / 'check-gpu.json'} has the figures", flush=True)
    return int(any(result["state"] == "failed" for result in checks.results))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
