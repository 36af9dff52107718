"""Decoding behind shared prompts: the logits of the stock forward, in every layout of the grid."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from editgrpo.errors import DataError, TrainingError
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.positions import prompt_positions
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling.decoding import (
    Decode,
    Prefill,
    _compiled_next_logits,
    passes_through,
)
from editgrpo.training.sampling.key_values import SharedKeyValues
from editgrpo.training.sampling.rollouts import sample_responses
from tests.training.small_models import FAMILIES, WITH_IMAGES, small_model, stock_features
from tests.training.tiny_run import Tiny

ROWS, STEPS = 3, 6


def text_prompt(*ids: int) -> EncodedPrompt:
    tokens = torch.tensor(ids)
    return EncodedPrompt(
        study_id="text",
        input_ids_T=tokens,
        is_image_token_T=torch.zeros_like(tokens, dtype=torch.bool),
        pixel_values=None,
        image_grid_thw=None,
    )


def forced_tokens(prompts: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(7, 390, (prompts, ROWS, STEPS), generator=generator)


def stock_log_probs(model: Any, prompt: EncodedPrompt, response: torch.Tensor) -> torch.Tensor:
    """(R + 1, V): the stock forward of one prompt and one response, nothing shared."""
    model.set_attn_implementation("sdpa")
    images: dict[str, Any] = {}
    ids = torch.cat([prompt.input_ids_T, response])[None]
    if prompt.pixel_values is not None:
        kinds = (ids == model.config.image_token_id).int()
        images = {
            "pixel_values": prompt.pixel_values,
            "image_grid_thw": prompt.image_grid_thw,
            "mm_token_type_ids": kinds,
        }
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False, **images).logits[0]
    return logits[prompt.input_ids_T.shape[0] - 1 :].log_softmax(dim=-1)


def prefilled(run: Any, kept: SharedKeyValues, prompts: list[EncodedPrompt]) -> torch.Tensor:
    """Compute the last prompt alone and the others together."""
    last = len(prompts) - 1
    first = run(Prefill(kept, dict(enumerate(prompts[:last])), {}))
    return torch.cat([first, run(Prefill(kept, {last: prompts[last]}, {}))])


def positions(model: Any, prompts: list[EncodedPrompt], step: int) -> torch.Tensor:
    return torch.stack([prompt_positions(model, one).max() + 1 + step for one in prompts])[:, None]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_logits_equal_those_of_the_stock_forward(tiny: Tiny, family: str) -> None:
    """Prompts of unequal length, one of a single token; the buffers grow twice on the way."""
    model = small_model(family, tiny).eval()
    prompts = [text_prompt(9, 8, 300, 11), text_prompt(42)]
    if family != "qwen2":
        prompts += tiny.prompts(3)
    tokens = forced_tokens(len(prompts))
    kept = SharedKeyValues([len(p.input_ids_T) for p in prompts], ROWS, model.device)
    found = []
    with passes_through(model) as run:
        found.append(prefilled(run, kept, prompts)[:, None].expand(-1, ROWS, -1))
        for step in range(STEPS):
            if step in (0, 2):
                kept.extend(2 if step == 0 else STEPS)
            where = positions(model, prompts, step).expand(-1, ROWS)
            logits = run(Decode(kept, tokens[:, :, step], where))
            found.append(logits.reshape(len(prompts), ROWS, -1))
            kept.advance()
    ours = torch.stack(found, dim=2).log_softmax(dim=-1)
    expected = torch.stack(
        [
            torch.stack([stock_log_probs(model, prompt, row) for row in rows])
            for prompt, rows in zip(prompts, tokens, strict=True)
        ]
    )
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert float(expected.std(dim=2).max()) > 0.1, "the model should look at its input"


@pytest.mark.slow
@torch.no_grad()
def test_rows_that_stay_do_not_notice_that_others_leave(tiny: Tiny) -> None:
    model, prompts = tiny.load().eval(), tiny.prompts(3)
    tokens = forced_tokens(3)
    # Prompt 1 goes; of prompt 0 rows 2 and 0 stay, of prompt 2 rows 1 and 1 (one only fills up).
    prompt_P, row_PK = torch.tensor([0, 2]), torch.tensor([[2, 0], [1, 1]])
    chosen = (prompt_P[:, None], row_PK)

    def decode(leave_at: int) -> torch.Tensor:
        kept = SharedKeyValues([len(p.input_ids_T) for p in prompts], ROWS, model.device)
        with passes_through(model) as run:
            prefilled(run, kept, prompts)
            for step in range(STEPS):
                if step == leave_at:
                    kept.select(prompt_P, row_PK)
                if step == 0:
                    kept.extend(STEPS)
                fed = tokens[:, :, step] if step < leave_at else tokens[:, :, step][chosen]
                where = positions(model, prompts, step)
                where = where if step < leave_at else where[prompt_P]
                logits = run(Decode(kept, fed, where.expand_as(fed)))
                kept.advance()
        return logits

    every = decode(STEPS).reshape(3, ROWS, -1)[chosen].flatten(0, 1)
    for leave_at in (0, 3, STEPS - 1):
        torch.testing.assert_close(decode(leave_at), every, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_autocast_keeps_keys_as_narrow_as_values(tiny: Tiny) -> None:
    """Rotary positions widen keys to float32, which would take twice the memory to no use."""
    model, prompts = tiny.load().eval(), tiny.prompts(2)
    tokens = forced_tokens(2)

    def decode() -> tuple[torch.Tensor, SharedKeyValues]:
        kept = SharedKeyValues([len(p.input_ids_T) for p in prompts], ROWS, model.device)
        with passes_through(model) as run:
            prefilled(run, kept, prompts)
            kept.extend(1)
            where = positions(model, prompts, 0).expand(-1, ROWS)
            return run(Decode(kept, tokens[:, :, 0], where)), kept

    exact, _ = decode()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, kept = decode()
    row = torch.zeros(2, 1, ROWS, 16, dtype=torch.float32)
    written = kept.write_rows(0, kept.next_columns(), row, row.bfloat16())
    assert {x.dtype for x in written} == {torch.bfloat16}
    # bfloat16 has eight bits: 0.4% of logits of size 10, through two layers.
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("family", WITH_IMAGES)
@torch.no_grad()
def test_features_take_the_place_of_pixels(tiny: Tiny, family: str) -> None:
    model, (prompt,) = small_model(family, tiny).eval(), tiny.prompts(1)
    features = stock_features(model, prompt)
    blind = replace(prompt, pixel_values=torch.zeros_like(prompt.pixel_values))
    kept = SharedKeyValues([len(prompt.input_ids_T)], 1, model.device)
    with passes_through(model) as run:
        expected = run(Prefill(kept, {0: prompt}, {}))
        found = run(Prefill(kept, {0: blind}, {0: features}))
        other = run(Prefill(kept, {0: blind}, {}))
        with pytest.raises(DataError, match=rf"study {prompt.study_id}: \d+ image features"):
            run(Prefill(kept, {0: prompt}, {0: features[1:]}))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(other, expected, atol=1e-3)


def test_a_models_forward_is_put_back(tiny: Tiny) -> None:
    model = tiny.load()
    stock = type(model).forward
    with pytest.raises(KeyError), passes_through(model):
        raise KeyError
    assert model.forward.__func__ is stock and "forward" not in model.__dict__
    patched = model.forward = lambda **_: None
    with passes_through(model):
        assert model.forward is not patched
    assert model.forward is patched


@pytest.mark.slow
@torch.no_grad()
def test_passes_go_through_the_wrapper_of_adapters(tiny: Tiny) -> None:
    """PEFT hands keywords on to the model that it wraps, whose adapters are at work."""
    import peft

    (prompt,) = tiny.prompts(1)
    adapters = peft.LoraConfig(
        r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    wrapped = peft.get_peft_model(tiny.load(), adapters).eval()
    seen = []
    wrapped.register_forward_pre_hook(lambda *_: seen.append(1))
    kept = SharedKeyValues([len(prompt.input_ids_T)], 1, torch.device("cpu"))
    with passes_through(wrapped) as run:
        found = run(Prefill(kept, {0: prompt}, {})).log_softmax(dim=-1)
    assert seen == [1]
    none = torch.zeros(0, dtype=torch.long)
    expected = stock_log_probs(wrapped.get_base_model(), prompt, none)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    plain = stock_log_probs(tiny.load(), prompt, none)
    assert not torch.allclose(expected, plain, atol=1e-3)


def _sample_sharded(rank: int, tiny: Tiny, folder: Path) -> None:
    """One of two processes that shard a model, and draw a different number of tokens each."""
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = tiny.load().eval()
    for layer in (*model.model.visual.blocks, *model.model.language_model.layers):
        fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    # Process 1 has no images, so it alone would never run the vision tower.
    prompts = tiny.prompts(2) if rank == 0 else [text_prompt(9, 8, 300)]
    uniforms = torch.full((len(prompts), 2, 4 + 3 * rank), 0.9, dtype=torch.float64)
    settings = SamplingSettings(max_tokens=4 + 3 * rank, eos_token_ids=(), pad_token_id=0)
    sampled = sample_responses(model, prompts, uniforms, settings)
    expected = sample_responses(tiny.load().eval(), prompts, uniforms, settings)
    # In the training that follows, every process holds its share only.
    are_shares = all(isinstance(parameter, DTensor) for parameter in model.parameters())
    loss = model(input_ids=torch.tensor([[9, 8, 300]]), labels=torch.tensor([[9, 8, 300]])).loss
    loss.backward()
    torch.save((sampled == expected, are_shares, float(loss)), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_sharded_processes_sample_each_their_own_number_of_tokens(
    tiny: Tiny, tmp_path: Path
) -> None:
    torch.multiprocessing.spawn(_sample_sharded, args=(tiny, tmp_path), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert [one[:2] for one in found] == [(True, True), (True, True)]
    assert found[0][2] == pytest.approx(found[1][2])


@pytest.fixture
def without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let whatever is compiled meet the error of a machine that has no compiler."""
    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *_, **__: torch_compile(lambda *_: torch.ones(1)))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    _compiled_next_logits.cache_clear()
    with torch._inductor.config.patch({"cpp.cxx": (None, str(tmp_path / "g++"))}):
        yield
    _compiled_next_logits.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("without_compiler")
def test_a_machine_without_a_compiler_is_told_what_to_do(tiny: Tiny) -> None:
    settings = SamplingSettings(max_tokens=4, eos_token_ids=(), pad_token_id=0)
    with pytest.raises(TrainingError, match=r"No working C\+\+ compiler.*rollout.compile=false"):
        sample_responses(
            tiny.load().eval(), tiny.prompts(1), torch.rand(1, 2, 4), settings, compiled=True
        )
