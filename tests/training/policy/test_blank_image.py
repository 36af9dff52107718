"""Without an image the vision tower runs on a blank one, and nothing but its gradients shows it."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from editgrpo.training.collator import FindingsCollator
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import pack_groups
from editgrpo.training.policy.blank_image import run_tower_always
from editgrpo.training.policy.processor import EncodedPrompt
from tests.training.small_models import WITH_IMAGES, small_model
from tests.training.tiny_run import Tiny

RESPONSES = [[11, 12, 13], [14], [15, 16]]


@pytest.fixture(params=WITH_IMAGES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def without_images(tiny: Tiny) -> EncodedPrompt:
    prompt = tiny.prompts(1)[0]
    return replace(
        prompt,
        input_ids_T=prompt.input_ids_T[~prompt.is_image_token_T],
        is_image_token_T=torch.zeros(int((~prompt.is_image_token_T).sum()), dtype=torch.bool),
        pixel_values=None,
        image_grid_thw=None,
        image_ids=(),
    )


def loss_of_rows(model: Any, prompt: EncodedPrompt) -> torch.Tensor:
    """Return the loss of the stock model on padded rows without images, as fine-tuning has them."""
    rows = [torch.cat([prompt.input_ids_T, torch.tensor(r)]) for r in RESPONSES]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    labels = ids.masked_fill(~mask, -100)
    labels[:, : len(prompt.input_ids_T)] = -100
    types = torch.zeros_like(ids, dtype=torch.int)
    loss: torch.Tensor = model(
        input_ids=ids, attention_mask=mask.long(), labels=labels, mm_token_type_ids=types
    ).loss
    return loss


def assert_tower_has_zeros_and_the_rest_is_as(model: Any, stock: Any) -> None:
    expected = dict(stock.named_parameters())
    for name, parameter in model.named_parameters():
        if "visual" in name:
            assert expected[name].grad is None
            assert parameter.grad is not None and not bool(parameter.grad.any()), name
        else:
            assert torch.equal(parameter.grad, expected[name].grad), name


@pytest.mark.slow
def test_a_stock_pass_gives_the_tower_zeros_and_changes_nothing_else(
    tiny: Tiny, family: str
) -> None:
    stock, model = small_model(family, tiny), small_model(family, tiny)
    run_tower_always(model)
    losses = [loss_of_rows(one, without_images(tiny)) for one in (stock, model)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    assert_tower_has_zeros_and_the_rest_is_as(model, stock)


@pytest.mark.slow
def test_a_packed_pass_gives_the_tower_zeros_and_changes_nothing_else(
    tiny: Tiny, family: str
) -> None:
    """The same pass with features from elsewhere, of which there are none, leaves it out."""
    prompts = [without_images(tiny)] * 2
    passes = []
    for features in ([None, None], None):
        model = small_model(family, tiny)
        add_group_pass(model, temperature=1.0)
        packed = pack_groups(model, prompts, [RESPONSES] * 2, features=features)
        log_probs, _ = packed_log_probs(model, packed)
        log_probs.square().sum().backward()
        passes.append((model, log_probs))
    (stock, expected), (model, found) = passes
    assert torch.equal(found, expected)
    assert_tower_has_zeros_and_the_rest_is_as(model, stock)


@pytest.mark.slow
def test_a_batch_with_images_is_as_it_was(tiny: Tiny, family: str) -> None:
    stock, model = small_model(family, tiny), small_model(family, tiny)
    run_tower_always(model)
    batch = FindingsCollator(*tiny.encoder())([{"index": 0}, {"index": 1}])
    batch.pop("labels")
    assert torch.equal(stock(**batch).logits, model(**batch).logits)


def test_a_model_of_text_alone_has_no_tower_to_run(tiny: Tiny) -> None:
    model = small_model("qwen2", tiny)
    run_tower_always(model)
    assert "forward" not in model.model.__dict__


@pytest.mark.slow
def test_embeddings_are_taken_as_the_stock_model_takes_them(tiny: Tiny, family: str) -> None:
    model = small_model(family, tiny).eval()
    stock = copy.deepcopy(model)
    run_tower_always(model)
    embeddings = stock.get_input_embeddings()(torch.tensor([RESPONSES[0]]))
    with torch.no_grad():
        found, expected = (one(inputs_embeds=embeddings).logits for one in (model, stock))
    assert torch.equal(found, expected)


@pytest.mark.slow
def test_a_copy_computes_with_weights_of_its_own(tiny: Tiny, family: str) -> None:
    model = small_model(family, tiny).eval()
    run_tower_always(model)
    ids = torch.tensor([RESPONSES[0]])
    copied = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(copied(input_ids=ids).logits, expected)
