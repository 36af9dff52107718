"""Sampling that is wrong stops a run before its first report."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from editgrpo.config import DType
from editgrpo.data.study import Split
from editgrpo.errors import TrainingError
from editgrpo.training.generate import GenerationConfig as GenerationSettings
from editgrpo.training.generate import generate_predictions
from editgrpo.training.policy import window_attention
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.window_attention import use_window_batches
from editgrpo.training.sampling import decoding, self_check
from editgrpo.training.sampling.self_check import CHECKED_TOKENS, check_sampling
from editgrpo.training.train import run_training
from tests.training.small_models import WITH_IMAGES, look_closely, small_model
from tests.training.tiny_run import Tiny

GREEDY = SamplingSettings(
    max_tokens=4, eos_token_ids=(2,), pad_token_id=0, temperature=0.7, forbidden_token_ids=(5, 6)
)


@pytest.fixture(params=WITH_IMAGES)
def sampled(tiny: Tiny, request: pytest.FixtureRequest) -> tuple[Any, EncodedPrompt]:
    model = small_model(request.param, tiny).eval()
    use_window_batches(model)
    (prompt,) = tiny.prompts(1)
    return model, prompt


def draws() -> str:
    return repr((torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()))


@pytest.mark.slow
def test_sampling_takes_the_tokens_that_generate_takes(
    sampled: tuple[Any, EncodedPrompt],
) -> None:
    """Whatever the model's own settings of generation are; no generator moves."""
    model, prompt = sampled
    model.generation_config = GenerationConfig(
        do_sample=True, repetition_penalty=1.5, temperature=1e-6, eos_token_id=[2, 30], max_length=7
    )
    before, settings = draws(), model.generation_config.to_dict()
    assert check_sampling(model, prompt, GREEDY, dtype=DType.FLOAT32) == CHECKED_TOKENS
    assert draws() == before
    assert model.generation_config.to_dict() == settings
    # The tower computes as before; Qwen3-VL's has no windows.
    name = "sdpa" if model.config.model_type == "qwen3_vl" else window_attention._NAME
    assert {module.config._attn_implementation for module in towers(model)} == {name}


def towers(model: Any) -> list[Any]:
    return [module for module in model.modules() if module is getattr(model.model, "visual", None)]


def test_a_model_without_images_in_its_prompt_is_compared_too(tiny: Tiny) -> None:
    prompt = tiny.prompts(1)[0]
    bare = replace(
        prompt,
        input_ids_T=prompt.input_ids_T[~prompt.is_image_token_T],
        is_image_token_T=torch.zeros(int((~prompt.is_image_token_T).sum()), dtype=torch.bool),
        pixel_values=None,
        image_grid_thw=None,
    )
    found = check_sampling(tiny.load().eval(), bare, GREEDY, dtype=DType.FLOAT32)
    assert found == CHECKED_TOKENS


def lose_images(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours looks at features of zero, as if a part of them were left out."""
    right = decoding.encode_images
    monkeypatch.setattr(decoding, "encode_images", lambda *a, **k: right(*a, **k) * 0)


def misplace_tokens(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours places the prompt's tokens in the wrong order of axes."""
    right = decoding.prompt_positions
    monkeypatch.setattr(decoding, "prompt_positions", lambda m, p: right(m, p).flip(0) * 3)


def lose_levels(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours leaves out the features of DeepStack, as code for another family would."""
    right, width = decoding.encode_images, model.get_input_embeddings().embedding_dim
    monkeypatch.setattr(decoding, "encode_images", lambda *a, **k: right(*a, **k)[:, :width])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "fault"),
    [
        ("qwen2.5-vl", lose_images),
        ("qwen2.5-vl", misplace_tokens),
        ("qwen3-vl", lose_images),
        ("qwen3-vl", misplace_tokens),
        ("qwen3-vl", lose_levels),
    ],
)
def test_sampling_that_goes_wrong_is_seen(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, family: str, fault: Callable[..., None]
) -> None:
    model = small_model(family, tiny).eval()
    look_closely(model, language=4)
    (prompt,) = tiny.prompts(1)
    fault(model, monkeypatch)
    with pytest.raises(TrainingError, match=r"transformers' generate \d+, .* stopped before"):
        check_sampling(model, prompt, GREEDY, dtype=DType.FLOAT32)


@pytest.mark.slow
def test_a_tie_but_for_rounding_is_no_fault(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock model prefers its own fourth token by less, or by more, than rounding explains."""
    model, (prompt,) = tiny.load().eval(), tiny.prompts(1)
    right = self_check._stock_greedy
    for lead, passes in ((5e-4, True), (5e-3, False)):

        def other(*arguments: Any, lead: float = lead) -> Any:
            tokens, log_probs_CV = right(*arguments)
            ours = tokens[3]
            tokens[3] = ours + 1
            log_probs_CV[3, ours + 1] = log_probs_CV[3, ours] + lead
            return tokens, log_probs_CV

        monkeypatch.setattr(self_check, "_stock_greedy", other)
        if passes:
            assert check_sampling(model, prompt, GREEDY, dtype=DType.FLOAT32) == 3
        else:
            with pytest.raises(TrainingError, match="as token 4 sampling"):
                check_sampling(model, prompt, GREEDY, dtype=DType.FLOAT32)


@pytest.mark.slow
def test_neither_a_run_nor_a_file_is_begun_by_sampling_that_goes_wrong(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> Any:
        return [7] * CHECKED_TOKENS, torch.full((CHECKED_TOKENS, 400), -9.0).index_fill(
            1, torch.tensor([7]), -0.01
        )

    monkeypatch.setattr(self_check, "_stock_greedy", wrong)
    with pytest.raises(TrainingError, match="transformers' generate 7"):
        run_training(tiny.train_config(tmp_path / "run"))
    assert not (tmp_path / "run/rollouts.jsonl").exists()
    with pytest.raises(TrainingError, match="transformers' generate 7"):
        generate_predictions(
            model=str(tiny.checkpoint),
            data=tiny.data(),
            split=Split.VALIDATION,
            output=tmp_path / "predictions.jsonl",
            config=GenerationSettings(),
        )
    assert not list(tmp_path.glob("*.jsonl*"))
