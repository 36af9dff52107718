"""With editing off, loss and gradients are those of stock TRL on the same responses."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from trl import GRPOTrainer

from editgrpo.config import AdvantageScale, LossType, ObjectiveConfig
from editgrpo.training.train import training_arguments
from tests.training.tiny_run import (
    PLAIN,
    Tiny,
    gradients,
    largest_difference,
    make_trainer,
    step_batches,
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


def stock_batch(trainer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Lay a batch out as TRL does: images and image counts again for every row."""
    rows = {name: batch[name] for name in ("prompt_ids", "prompt_mask", "completion_ids")}
    rows |= {name: batch[name] for name in ("completion_mask", "advantages")}
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    grids = batch["image_grid_thw"].split(batch["num_images"])
    patches = batch["pixel_values"].split([int(g.prod(dim=1).sum()) for g in grids])
    images = {
        "pixel_values": torch.cat([patch for patch in patches for _ in range(GROUP)]),
        "image_grid_thw": torch.cat([grid for grid in grids for _ in range(GROUP)]),
        "num_images": [count for count in batch["num_images"] for _ in range(GROUP)],
        "mm_token_type_ids": (ids == trainer.model.config.image_token_id).int(),
    }
    if trainer.beta:
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            rows["ref_per_token_logps"], _, _ = trainer._get_per_token_logps_and_entropies(
                trainer.ref_model, ids, mask, batch["completion_ids"].shape[1], **images
            )
    return rows | images


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


def compare(ours: Any, batch: dict[str, Any], stock: Any, theirs: dict[str, Any]) -> None:
    """Compare loss and all gradients of one batch."""
    our_loss = ours._compute_loss(ours.model, batch)
    their_loss = stock._compute_loss(stock.model, theirs)
    torch.testing.assert_close(our_loss, their_loss, rtol=1e-5, atol=1e-6, msg=VERSION)
    our_loss.backward()
    their_loss.backward()
    expected = gradients(stock.model)
    largest = max(float(value.abs().max()) for value in expected.values())
    difference, name = largest_difference(gradients(ours.model), expected)
    assert largest > 1e-4, "gradients of zero would compare nothing"
    assert difference < 1e-4 * largest, f"{name}: {difference} of {largest}, {VERSION}"


@pytest.mark.parametrize("beta", [0.0, 0.01])
@pytest.mark.parametrize("loss", list(LossType))
@pytest.mark.parametrize("scale", list(AdvantageScale))
def test_loss_and_gradients_equal_those_of_stock_trl(
    tiny: Tiny, tmp_path: Path, beta: float, loss: LossType, scale: AdvantageScale
) -> None:
    objective = ObjectiveConfig(loss=loss, scale=scale, beta=beta)
    ours = make_trainer(tiny.train_config(tmp_path, edit=PLAIN, objective=objective))
    stock = stock_trainer(ours, tiny)
    ours.model.train()
    for batch in step_batches(ours, 4):
        theirs = stock_batch(stock, batch)
        compare(ours, batch, stock, theirs)
        # Log-probabilities of an older policy: ratios differ from 1, and some are clipped.
        generator = torch.Generator().manual_seed(1)
        shift = 0.3 * torch.randn(batch["completion_ids"].shape, generator=generator)
        old = {"old_per_token_logps": theirs_log_probs(stock, theirs) + shift}
        compare(ours, batch | old, stock, theirs | old)
    for name in ("kl", "entropy", "clip_ratio/region_mean"):
        one, two = ours._metrics["train"].get(name, []), stock._metrics["train"].get(name, [])
        assert one == pytest.approx(two, rel=1e-4, abs=1e-7), f"{name} {VERSION}"
    assert max(stock._metrics["train"]["clip_ratio/region_mean"]) > 0, "nothing was clipped"
    if beta:
        assert min(stock._metrics["train"]["kl"]) > 1e-4, "policy and reference are alike"


def test_a_dropped_group_is_left_out_of_the_loss(tiny: Tiny, tmp_path: Path) -> None:
    """Two groups in a pass, one dropped: Dr. GRPO's sum is the kept group's, its constant stays."""
    ours = make_trainer(tiny.train_config(tmp_path, edit=PLAIN))
    ours.model.train()
    batch = step_batches(ours, 2)[0]
    batch["advantages"] = torch.tensor([-1.0, 2.0, 0.5, -1.5, 1.0, -0.5, 0.25, -0.75])
    kept = batch["completion_mask"].clone()
    kept[:GROUP] = 0
    dropped = batch | {"tool_mask": kept}
    ours._compute_loss(ours.model, dropped).backward()
    found = gradients(ours.model)
    # The same loss with other numbers in the dropped rows: they must not matter.
    noisy = dropped | {"advantages": batch["advantages"].clone()}
    noisy["advantages"][:GROUP] = 7.0
    ours._compute_loss(ours.model, noisy).backward()
    difference, name = largest_difference(gradients(ours.model), found)
    assert difference == 0.0, name
    assert max(float(value.abs().max()) for value in found.values()) > 1e-4
