"""With editing off, loss and gradients are those of stock TRL on the same responses."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from trl import GRPOTrainer

from editgrpo.config import AdvantageScale, KLTerm, LossType, ObjectiveConfig
from editgrpo.training.run.arguments import training_arguments
from editgrpo.training.step.batches import UpdatePass
from tests.training.tiny_run import (
    PLAIN,
    Tiny,
    gradients,
    largest_difference,
    loss_of,
    make_trainer,
    step_passes,
)

pytestmark = pytest.mark.parity
GROUP = 4
VERSION = f"against TRL {trl.__version__}"


def stock_trainer(ours: Any, tiny: Tiny) -> Any:
    """Build TRL's own trainer on the same checkpoint, with the same arguments and weights."""
    import datasets

    trainer = GRPOTrainer(
        model=tiny.load(),
        reward_funcs=lambda **_: [],
        args=training_arguments(ours._config),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["a"]}),
        processing_class=ours._setup.tokenizer,
    )
    trainer.model.load_state_dict(ours.model.state_dict())
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = ours.current_gradient_accumulation_steps
    return trainer


def stock_batch(trainer: Any, ours: Any, one: UpdatePass) -> dict[str, Any]:
    """Lay a pass out as TRL does: prompt, images and image counts again for every row."""
    prompts = ours._setup.encoder.encode_all([group.study for group in one.groups])
    rows = {name: one.inputs[name] for name in ("completion_ids", "completion_mask", "advantages")}
    rows |= padded_prompts([prompt.input_ids_T for prompt in prompts])
    ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1)
    images = {
        "pixel_values": torch.cat([p.pixel_values for p in prompts for _ in range(GROUP)]),
        "image_grid_thw": torch.cat([p.image_grid_thw for p in prompts for _ in range(GROUP)]),
        "num_images": [len(p.image_grid_thw) for p in prompts for _ in range(GROUP)],
        "mm_token_type_ids": (ids == trainer.model.config.image_token_id).int(),
    }
    if trainer.beta:
        mask = torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1)
        with torch.no_grad():
            rows["ref_per_token_logps"], _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.ref_model, ids, mask, rows["completion_ids"].shape[1], **images
            )
    return rows | images


def padded_prompts(prompts: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Pad prompts on the left, each as often as its group has rows."""
    length = max(map(len, prompts))
    ids = [torch.nn.functional.pad(p, (length - len(p), 0)) for p in prompts]
    masks = [torch.nn.functional.pad(torch.ones_like(p), (length - len(p), 0)) for p in prompts]
    return {
        "prompt_ids": torch.stack(ids).repeat_interleave(GROUP, dim=0),
        "prompt_mask": torch.stack(masks).repeat_interleave(GROUP, dim=0),
    }


def theirs_log_probs(stock: Any, batch: dict[str, Any]) -> torch.Tensor:
    names = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
    with torch.no_grad():
        log_probs, _, _ = stock._get_per_token_logps_and_entropies(
            stock.model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
            batch["completion_ids"].shape[1],
            **{name: batch[name] for name in names},
        )
    return log_probs


def compare(
    ours: Any, one: UpdatePass, stock: Any, theirs: dict[str, Any], **more: torch.Tensor
) -> None:
    """Compare loss and all gradients of one pass."""
    our_loss = loss_of(ours, one, **more)
    their_loss = stock._compute_loss(stock.model, theirs | more)
    torch.testing.assert_close(our_loss, their_loss, rtol=1e-5, atol=1e-6, msg=VERSION)
    our_loss.backward()
    their_loss.backward()
    expected = gradients(stock.model)
    largest = max(float(value.abs().max()) for value in expected.values())
    difference, name = largest_difference(gradients(ours.model), expected)
    assert largest > 1e-4, "gradients of zero would compare nothing"
    assert difference < 1e-4 * largest, f"{name}: {difference} of {largest}, {VERSION}"


@pytest.mark.parametrize(
    ("beta", "kl"), [(0.0, KLTerm.K3), (0.01, KLTerm.K3), (0.01, KLTerm.K3_TIMES_RATIO)]
)
@pytest.mark.parametrize("loss", list(LossType))
@pytest.mark.parametrize("scale", list(AdvantageScale))
def test_loss_and_gradients_equal_those_of_stock_trl(
    tiny: Tiny, tmp_path: Path, beta: float, kl: KLTerm, loss: LossType, scale: AdvantageScale
) -> None:
    """TRL's k3 has no clamp, and no token here is near it."""
    assert_same_as_stock(tiny, tmp_path, ObjectiveConfig(loss=loss, scale=scale, beta=beta, kl=kl))


@pytest.mark.parametrize("beta", [0.0, 0.01])
def test_they_equal_those_of_stock_trl_for_qwen3_vl(
    tiny_qwen3: Tiny, tmp_path: Path, beta: float
) -> None:
    assert_same_as_stock(tiny_qwen3, tmp_path, ObjectiveConfig(beta=beta))


def assert_same_as_stock(tiny: Tiny, tmp_path: Path, objective: ObjectiveConfig) -> None:
    """Compare a step's passes, with log-probabilities of this policy and of an older one."""
    ours = make_trainer(
        tiny.train_config(tmp_path, edit=PLAIN, objective=objective, tokens_per_pass=100_000)
    )
    stock = stock_trainer(ours, tiny)
    ours.model.train()
    for one in step_passes(ours, 4):
        theirs = stock_batch(stock, ours, one)
        compare(ours, one, stock, theirs)
        # Log-probabilities of an older policy: ratios differ from 1, and some are clipped.
        generator = torch.Generator().manual_seed(1)
        shift = 0.3 * torch.randn(one.inputs["completion_ids"].shape, generator=generator)
        old = theirs_log_probs(stock, theirs) + shift
        compare(ours, one, stock, theirs, old_per_token_logps=old)
    for name in ("kl", "entropy", "clip_ratio/region_mean"):
        one, two = ours._metrics["train"].get(name, []), stock._metrics["train"].get(name, [])
        assert one == pytest.approx(two, rel=1e-4, abs=1e-7), f"{name} {VERSION}"
    assert max(stock._metrics["train"]["clip_ratio/region_mean"]) > 0, "nothing was clipped"
    if objective.beta:
        assert min(stock._metrics["train"]["kl"]) > 1e-4, "policy and reference are alike"


def test_a_dropped_group_is_left_out_of_the_loss(tiny: Tiny, tmp_path: Path) -> None:
    """Two groups in a pass, one dropped: Dr. GRPO's sum is the kept group's, its constant stays."""
    ours = make_trainer(tiny.train_config(tmp_path, edit=PLAIN, tokens_per_pass=100_000))
    ours.model.train()
    (one,) = step_passes(ours, 2)
    advantages = torch.tensor([-1.0, 2.0, 0.5, -1.5, 1.0, -0.5, 0.25, -0.75])
    kept = one.inputs["completion_mask"].clone()
    kept[:GROUP] = 0
    loss_of(ours, one, tool_mask=kept, advantages=advantages).backward()
    found = gradients(ours.model)
    # The same loss with other numbers in the dropped rows: they must not matter.
    noisy = advantages.clone()
    noisy[:GROUP] = 7.0
    loss_of(ours, one, tool_mask=kept, advantages=noisy).backward()
    difference, name = largest_difference(gradients(ours.model), found)
    assert difference == 0.0, name
    assert max(float(value.abs().max()) for value in found.values()) > 1e-4
