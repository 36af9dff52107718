"""Families with their own processors: Gemma 3, which is packed, and LLaVA, which is not known."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from editgrpo.config import (
    DataConfig,
    DType,
    GroupPass,
    LoraConfig,
    ModelConfig,
    OptimConfig,
    SFTConfig,
)
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError, ModelError
from editgrpo.files import read_jsonl
from editgrpo.training.generate import GenerationConfig, generate_predictions
from editgrpo.training.packed.group_pass import packed_log_probs
from editgrpo.training.packed.plain import add_plain_pass, check_plain_path, plain_groups
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.tiny_gemma3 import write_gemma3
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.checkpoints.llava import write_llava
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow


WRITERS = {"Gemma3": write_gemma3, "Llava": write_llava}
END_OF_TURN = {"Gemma3": "<end_of_turn>", "Llava": "</s>"}


def of_family(name: str, tiny: Tiny, folder: Path) -> Tiny:
    """The studies of the other tests, and a small model of a family as it is published."""
    return tiny.with_model(WRITERS[name], folder / name)


@pytest.fixture(scope="module", params=WRITERS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def other(family: str, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Either family."""
    return of_family(family, tiny, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def llava(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The one that takes the plain path."""
    return of_family("Llava", tiny, tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def fine_tuned(other: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("sft") / "run"
    config = SFTConfig(
        model=other.model(),
        data=other.data(validation_limit=4),
        optim=OptimConfig(learning_rate=5e-3),
        epochs=6,
        batch_size=6,
        micro_batch_size=3,
        max_completion_tokens=48,
        output=str(run),
    )
    return run_sft(config)


def metrics_of(run: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(run / "metrics.jsonl") if "loss" in row]


def test_fine_tuning_lowers_the_loss_and_writes_a_checkpoint_for_plain_transformers(
    family: str, fine_tuned: Path
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    losses = [row["loss"] for row in metrics_of(fine_tuned.parent)]
    assert losses[-1] < 0.7 * losses[0]
    model = AutoModelForImageTextToText.from_pretrained(fine_tuned)
    processor = AutoProcessor.from_pretrained(fine_tuned)
    assert type(model).__name__ == f"{family}ForConditionalGeneration"
    assert type(processor).__name__ == f"{family}Processor"
    ends = json.loads((fine_tuned / "generation_config.json").read_text())["eos_token_id"]
    # A report ends as a turn of the template does.
    assert ends[0] == processor.tokenizer.convert_tokens_to_ids(END_OF_TURN[family])
    assert f"(`{family.lower()}`)" in (fine_tuned / "README.md").read_text()


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4)], ids=["full", "lora"])
def test_reinforcement_edits_its_rollouts_and_goes_on_to_the_byte(
    other: Tiny, fine_tuned: Path, tmp_path: Path, lora: LoraConfig | None
) -> None:
    def config(output: Path, steps: int) -> Any:
        trained = replace(other, checkpoint=fine_tuned)
        return trained.train_config(
            output,
            model=trained.model(lora=lora, freeze_vision_tower=True),
            steps=steps,
            save_every=1,
        )

    whole, parted = tmp_path / "whole", tmp_path / "parted"
    model = run_training(config(whole, 2))
    run_training(config(parted, 1))
    run_training(config(parted, 2), resume=True)
    rows = metrics_of(whole)
    assert len(rows) == 2
    assert rows[0]["edits/augmentation"] + rows[0]["edits/deletion"] > 0
    assert all(row["clip_share"] == 0 for row in rows)
    for name in ("metrics.jsonl", "rollouts.jsonl", "model/model.safetensors"):
        assert (whole / name).read_bytes() == (parted / name).read_bytes(), name
    out = tmp_path / "predictions.jsonl"
    generate_predictions(
        model=str(model),
        data=DataConfig(folder=str(other.studies), validation_limit=3),
        split=Split.VALIDATION,
        output=out,
        config=GenerationConfig(max_completion_tokens=16, batch_size=2),
    )
    assert [row["study_id"] for _, row in read_jsonl(out)]


@pytest.mark.parametrize("name", ["Qwen2.5-VL", "Qwen3-VL", "Gemma3"])
def test_the_plain_path_trains_a_known_family_as_the_packed_pass_does(
    tiny: Tiny, tmp_path: Path, name: str
) -> None:
    """Same rollouts, same losses and weights but for rounding: one is the other's oracle."""
    trained = tiny if name not in WRITERS else of_family(name, tiny, tmp_path)
    found = {}
    for kind in (GroupPass.PACKED, GroupPass.PLAIN):
        model = trained.model(group_pass=kind)
        run_training(trained.train_config(tmp_path / kind, model=model, steps=2))
        rollouts = [row["report"] for _, row in read_jsonl(tmp_path / kind / "rollouts.jsonl")]
        found[kind] = (rollouts, metrics_of(tmp_path / kind))
    (packed_rollouts, packed), (plain_rollouts, plain) = found.values()
    assert packed_rollouts == plain_rollouts
    for ours, theirs in zip(packed, plain, strict=True):
        for name in ("loss", "grad_norm", "kl", "entropy"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_template_that_takes_too_much_is_refused(llava: Tiny, tmp_path: Path, role: str) -> None:
    """Also one that does so for an answer alone, which is rendered to see how it ends."""
    folder = shutil.copytree(llava.checkpoint, tmp_path / "model")
    template = folder / "chat_template.jinja"
    endless = (
        "{% for m in messages %}{% if m['role'] == 'ROLE' %}{% for a in range(99999) %}"
        "{% for b in range(99999) %}x{% endfor %}{% endfor %}{% endif %}{% endfor %}"
    )
    template.write_text(endless.replace("ROLE", role) + template.read_text())
    with pytest.raises(ModelError, match="chat template"):
        load_processor(folder)


def test_what_cannot_be_packed_says_so(llava: Tiny, tmp_path: Path) -> None:

    model = ModelConfig(
        path=str(llava.checkpoint), dtype=DType.FLOAT32, group_pass=GroupPass.PACKED
    )
    with pytest.raises(ConfigError, match="not 'llava'; set it to auto"):
        run_training(llava.train_config(tmp_path / "run", model=model))


@pytest.mark.parametrize(
    ("frozen", "processes", "is_sharded", "is_refused"),
    [(True, 1, False, False), (False, 1, False, False), (True, 2, False, False),
     (False, 2, False, True), (True, 1, True, True), (True, 2, True, True)],
)  # fmt: skip
def test_a_launch_that_it_does_not_serve_is_refused(
    tiny: Tiny, tmp_path: Path, frozen: bool, processes: int, is_sharded: bool, is_refused: bool
) -> None:

    model = tiny.model(freeze_vision_tower=frozen)
    config = tiny.train_config(tmp_path, model=model)
    with pytest.raises(ConfigError, match="launch with DDP") if is_refused else nullcontext():
        check_plain_path(config, processes=processes, is_sharded=is_sharded)


def test_gradients_of_chunks_are_those_of_one_pass(llava: Tiny) -> None:

    prompts = llava.prompts(2)
    responses = [[[5, 6, 7], [8], [9, 10]], [[11, 12], [13, 14, 15, 16]]]
    gradients = []
    for budget in (1, 10**6):
        model = llava.load().train()
        add_plain_pass(model, temperature=1.0)
        packed = plain_groups(prompts, responses, budget=budget)
        log_probs_BC, _ = packed_log_probs(model, packed)
        weights_BC = torch.arange(log_probs_BC.numel()).reshape(log_probs_BC.shape)
        (log_probs_BC * weights_BC).sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    largest = max(g.abs().max() for g in gradients[1].values())
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).abs().max() < 1e-5 * largest, name
