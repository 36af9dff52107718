"""Gemma 3 packed, against the stock model fed by the family's own processor."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from editgrpo.config import (
    AttentionKernel,
    DType,
    GroupPass,
    LoraConfig,
    ModelConfig,
)
from editgrpo.data.prompt import Prompt
from editgrpo.errors import ConfigError, DataError
from editgrpo.training.packed import attention
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import PackedGroups, pack_groups
from editgrpo.training.packed.plain import repeated
from editgrpo.training.policy.families import family_of, packed_family
from editgrpo.training.policy.features import FeatureStore, encode_images, required_tower
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.load import (
    load_for_inference,
    load_policy,
    load_processor,
    peft_config,
)
from editgrpo.training.policy.plain_processor import PlainProcessor
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.tiny_gemma3 import write_gemma3
from editgrpo.training.sampling.rollouts import sample_responses
from tests.parity.test_group_pass import assert_same, ours, weights_of
from tests.training.tiny_run import SENTENCES, gradients

pytestmark = pytest.mark.parity

# One film, two, and none; the small model's window of 16 tokens is shorter than each prompt.
FILMS = ((40, 60), (90, 30)), ((56, 56),), ()
QUESTIONS = ("Describe the heart and compare.", "Is there a pleural effusion?", "The lungs?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gemma3(tmp_path_factory.mktemp("gemma") / "model", [*SENTENCES, *QUESTIONS] * 9)


@pytest.fixture
def model(folder: Path) -> Any:
    loaded: Any = load_for_inference(folder, dtype=torch.float32)
    for name, parameter in loaded.named_parameters():  # lets it look around, and at its films
        if "self_attn" in name:
            parameter.data.mul_(2)
    return loaded


@pytest.fixture(scope="module")
def films() -> list[list[NDArray[np.uint8]]]:
    draw = np.random.default_rng(0)
    return [[draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in one] for one in FILMS]


def prompt_of(question: str, films: Sequence[object]) -> Prompt:
    parts = [{"type": "image"} for _ in films] + [{"type": "text", "text": question}]
    return Prompt([{"role": "user", "content": parts}], ())


def encoded(processor: Any, films: list[list[NDArray[np.uint8]]]) -> list[EncodedPrompt]:
    return [
        processor.assemble(
            f"study-{number}",
            prompt_of(question, shown),
            [image.shape[:2] for image in shown],
            [processor.patches(image) for image in shown],
        )
        for number, (question, shown) in enumerate(zip(QUESTIONS, films, strict=True))
    ]


@pytest.fixture
def prompts(folder: Path, films: list[list[NDArray[np.uint8]]]) -> list[EncodedPrompt]:
    return encoded(load_processor(folder), films)


@pytest.fixture
def stock_prompts(folder: Path, films: list[list[NDArray[np.uint8]]]) -> list[EncodedPrompt]:
    """As the family's own processor writes them."""
    from transformers import AutoProcessor

    return encoded(PlainProcessor(AutoProcessor.from_pretrained(folder), folder), films)


@pytest.fixture
def responses() -> list[list[list[int]]]:
    """Some longer than the window, some of one token."""
    draw = np.random.default_rng(1)
    lengths = ((5, 1, 21, 3), (1, 2, 18), (7, 7))
    return [[draw.integers(260, 330, n).tolist() for n in group] for group in lengths]


def stock_log_probs(model: Any, prompt: EncodedPrompt, response: Sequence[int]) -> torch.Tensor:
    """Score one response with the stock forward, its masks and all."""
    ids = torch.cat([prompt.input_ids_T, torch.tensor(response, dtype=torch.long)])[None]
    tokens = prompt.input_ids_T.shape[0]
    inputs = repeated(prompt.stock_inputs(), 1, more=len(response), tokens=tokens)
    logits = model(
        input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **inputs
    ).logits[0]
    predicted = logits[prompt.input_ids_T.shape[0] - 1 : -1].log_softmax(dim=-1)
    return predicted.gather(1, ids[0, prompt.input_ids_T.shape[0] :, None])[:, 0]


def stock(
    model: Any, prompts: list[EncodedPrompt], groups: list[list[list[int]]]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return log-probabilities of all tokens, and gradients of their weighted sum."""
    separate = [
        stock_log_probs(model, prompt, response)
        for prompt, group in zip(prompts, groups, strict=True)
        for response in group
    ]
    sum((w * s).sum() for w, s in zip(weights_of(groups), separate, strict=True)).backward()
    return torch.cat(separate), gradients(model)


def test_tokens_and_pixels_are_those_of_the_stock_processor(
    prompts: list[EncodedPrompt], stock_prompts: list[EncodedPrompt]
) -> None:
    for one, expected in zip(prompts, stock_prompts, strict=True):
        assert torch.equal(one.input_ids_T, expected.input_ids_T)
        found, wanted = one.stock_inputs(), expected.stock_inputs()
        assert found.keys() == wanted.keys()
        for name in found:
            assert torch.equal(found[name], wanted[name]), name
    assert [int(one.is_image_token_T.sum()) for one in prompts] == [8, 4, 0]


@pytest.mark.parametrize("kernel", [AttentionKernel.SPLIT, AttentionKernel.DENSE])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_log_probs_and_gradients_equal_those_of_separate_rows(
    model: Any,
    prompts: list[EncodedPrompt],
    stock_prompts: list[EncodedPrompt],
    responses: list[list[list[int]]],
    kernel: AttentionKernel,
    checkpointing: bool,
) -> None:
    model.train()
    expected = stock(model, stock_prompts, responses)
    add_group_pass(model, temperature=1.0)
    if checkpointing:
        model.gradient_checkpointing_enable()
    assert_same(
        ours(model, pack_groups(model, prompts, responses, kernel=kernel), responses), expected
    )
    for part in ("vision_tower", "multi_modal_projector", "language_model"):
        largest = max(float(v.abs().max()) for name, v in expected[1].items() if part in name)
        assert largest > 1e-3, part


@pytest.mark.parametrize("fault", ["no window", "no blocks"])
def test_a_fault_would_be_seen(
    model: Any,
    prompts: list[EncodedPrompt],
    responses: list[list[list[int]]],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    add_group_pass(model, temperature=1.0)

    def scored() -> torch.Tensor:
        with torch.no_grad():
            return packed_log_probs(model, pack_groups(model, prompts, responses))[0]

    right = scored()
    if fault == "no window":
        whole = attention.GroupPlan._prepare
        monkeypatch.setattr(
            attention.GroupPlan, "_prepare", lambda self, device, _: whole(self, device, None)
        )
    else:
        monkeypatch.setattr(type(family_of(model)), "blocks", lambda *_: ())
    assert float((scored() - right).abs().max()) > 1e-3


def test_adapters_train_alike(
    model: Any,
    prompts: list[EncodedPrompt],
    stock_prompts: list[EncodedPrompt],
    responses: list[list[list[int]]],
) -> None:
    import peft

    add_group_pass(model, temperature=1.0)
    packed = pack_groups(model, prompts, responses)
    adapted = peft.get_peft_model(model, peft_config(LoraConfig(rank=4), model))
    generator = torch.Generator().manual_seed(4)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # zero at first: the adapters would do nothing
            parameter.data.normal_(std=0.3, generator=generator)
    assert_same(ours(adapted, packed, responses), stock(adapted, stock_prompts, responses))


def test_features_are_those_of_the_stock_model_and_are_kept(
    model: Any, prompts: list[EncodedPrompt], responses: list[list[list[int]]]
) -> None:
    with torch.no_grad():
        pixels = prompts[0].stock_inputs()["pixel_values"]
        expected = model.model.get_image_features(pixels).pooler_output.flatten(0, 1)
        found = encode_images(model, prompts[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    family = family_of(model)
    tower = required_tower(family, model.model)
    for parameter in tower.parameters():
        parameter.requires_grad_(False)
    store = FeatureStore(family, tower, autocast=nullcontext, ram_bytes=10**9)
    add_group_pass(model, temperature=1.0)
    found, wanted = (
        packed_log_probs(model, pack_groups(model, prompts, responses, features=features))[0]
        for features in (store.of(prompts), None)
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_freezing_the_tower_freezes_the_projector(folder: Path) -> None:
    config = ModelConfig(path=str(folder), dtype=DType.FLOAT32, freeze_vision_tower=True)
    policy: Any = load_policy(folder, config)
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert trained and all("language_model" in name or "lm_head" in name for name in trained)


def test_a_pass_without_films_gives_the_tower_zeros(
    model: Any, prompts: list[EncodedPrompt], responses: list[list[list[int]]]
) -> None:
    add_group_pass(model, temperature=1.0)
    packed: PackedGroups = pack_groups(model, prompts[2:], responses[2:])
    packed_log_probs(model, packed)[0].sum().backward()
    for name, parameter in model.named_parameters():
        if "vision_tower" in name or "multi_modal_projector" in name:
            assert parameter.grad is not None and not bool(parameter.grad.any()), name


def test_greedy_tokens_equal_those_of_generate(
    model: Any, prompts: list[EncodedPrompt], stock_prompts: list[EncodedPrompt]
) -> None:
    """Twenty-four tokens: responses leave the window that their prompt began."""
    model.eval()
    settings = SamplingSettings(
        max_tokens=24, eos_token_ids=(1,), pad_token_id=0, temperature=0.0, forbidden_token_ids=()
    )
    found = sample_responses(model, prompts, torch.zeros(3, 2, 24), settings)
    model.set_attn_implementation("sdpa")
    for prompt, group in zip(stock_prompts, found, strict=True):
        written = model.generate(
            input_ids=prompt.input_ids_T[None],
            attention_mask=torch.ones_like(prompt.input_ids_T)[None],
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=1,
            pad_token_id=0,
            **prompt.stock_inputs(),
        )[0, prompt.input_ids_T.shape[0] :].tolist()
        assert group == [written, written]
    assert len({tuple(group[0]) for group in found}) > 1


def test_a_template_that_loses_a_film_names_the_study(folder: Path) -> None:
    processor: Any = load_processor(folder)
    with pytest.raises(DataError, match="study s9: the prompt has 1 image placeholders for 2"):
        processor.assemble("s9", prompt_of("Why?", [1]), [(56, 56)] * 2, [None, None])


def test_what_no_published_model_has_takes_the_plain_path(folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    capped = shutil.copytree(folder, tmp_path / "capped")
    config = json.loads((capped / "config.json").read_text())
    assert not isinstance(packed_family(config), str)
    config["text_config"]["final_logit_softcapping"] = 30.0
    (capped / "config.json").write_text(json.dumps(config))
    assert load_processor(capped).is_plain and not load_processor(folder).is_plain
    with pytest.raises(ConfigError, match="cannot take this Gemma 3 model: its logits are capped"):
        load_processor(capped, GroupPass.PACKED)
