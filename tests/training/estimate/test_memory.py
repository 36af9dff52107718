"""Bytes, held to tensors of small runs and to values derived by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import get_peft_model

from editgrpo.config import LoraConfig
from editgrpo.errors import ConfigError
from editgrpo.training.estimate.gpus import GPUS
from editgrpo.training.estimate.memory import GIB, image_feature_bytes, memory_parts
from editgrpo.training.estimate.published import PUBLISHED, QWEN2_5_VL_3B
from editgrpo.training.estimate.read_shape import shape_of
from editgrpo.training.estimate.sampling_memory import store_bytes
from editgrpo.training.estimate.scorers import scorer_bytes
from editgrpo.training.estimate.spread import Launch, Spread
from editgrpo.training.estimate.states import (
    Precision,
    adapter_parameters,
    states_of,
    trained_parameters,
)
from editgrpo.training.policy.families import family_of
from editgrpo.training.policy.features import encoded_images
from editgrpo.training.policy.load import load_policy, peft_config
from editgrpo.training.sampling.key_values import SharedKeyValues
from tests.training.estimate.builders import recipe, work_of
from tests.training.estimate.models import FAMILIES, QWEN, small_model


def parts(*changes: str, spread: Spread | None = None, gpu: str | None = None) -> dict[str, Any]:
    config = recipe(*changes)
    shape = PUBLISHED[config.model.path]
    spread = spread or Spread()
    found = memory_parts(
        config, shape, work_of(config, spread.gpus), spread, GPUS[gpu] if gpu else None
    )
    return {part.name: part for part in found}


def gib(*changes: str, of: str = "update", **other: Any) -> dict[str, float]:
    """Return the parts in GiB to a tenth."""
    found = {name: getattr(part, of) for name, part in parts(*changes, **other).items()}
    return {name: round(size / GIB, 1) for name, size in found.items() if size}


# --- against real tensors ------------------------------------------------------------------------


def stepped(model: Any) -> tuple[int, int, int]:
    """Take a step and return the bytes of what is trained, of its gradients and of the optimiser's
    state, its counters of steps left out."""
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    sum(one.float().sum() for one in trained).backward()  # type: ignore[union-attr]
    optimizer.step()
    states = [state for one in optimizer.state.values() for name, state in one.items()]
    return (
        sum(one.nbytes for one in trained),
        sum(one.grad.nbytes for one in trained if one.grad is not None),
        sum(state.nbytes for state in states if state.dim()),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [["optim.state=float32"], ["model.freeze_vision_tower=false"], ["model.lora.rank=4"]],
)
@pytest.mark.parametrize("family", ["qwen2_5_vl", "gemma3"])
def test_states_are_those_of_a_step(family: str, changes: list[str], tmp_path: Any) -> None:
    built = small_model(family)
    built.save_pretrained(tmp_path)
    config = recipe(*changes)
    policy: Any = load_policy(tmp_path, config.model)
    if config.model.lora is not None:
        policy = get_peft_model(policy, peft_config(config.model.lora, policy))
    shape, states = shape_of(built.config), states_of(config)
    trained = trained_parameters(config, shape)
    assert trained == sum(one.numel() for one in policy.parameters() if one.requires_grad)
    weights, gradients, moments = stepped(policy)
    assert weights == states.weight * trained
    assert gradients == states.gradient * trained
    assert moments == states.moments * trained
    frozen = [one for one in policy.parameters() if not one.requires_grad]
    count = shape.parameters - (0 if config.model.lora else trained)
    assert sum(one.nbytes for one in frozen) == 2 * count
    # TRL makes the reference in the format of the policy's first weight.
    if config.model.lora is None:
        is_low = config.model.freeze_vision_tower
        assert policy.dtype == (torch.bfloat16 if is_low else torch.float32)


def test_eight_bit_moments_leave_the_embedding_exact() -> None:
    states, text = states_of(recipe("optim.state=8bit")), QWEN2_5_VL_3B.text
    # Two moments of a byte and a float32 scale for 256 of them; of the embedding 8 bytes.
    rest = 1000
    found = states.moment_bytes(text.embedding + rest, text)
    assert found == 8 * text.embedding + rest * (2 + 2 * 4 / 256)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_are_those_that_peft_makes(family: str) -> None:
    modules = ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")
    model = small_model(family)
    adapted = get_peft_model(model, peft_config(LoraConfig(rank=4, target_modules=modules), model))
    trained = sum(one.numel() for one in adapted.parameters() if one.requires_grad)
    assert adapter_parameters(shape_of(model.config).text, 4, modules) == trained


def test_the_cache_of_keys_and_values_is_that_of_sampling() -> None:
    shape = shape_of(small_model("qwen2_5_vl").config)
    prompts, rows, tokens, longest = 3, 2, 40, 64
    kept = SharedKeyValues([tokens] * prompts, rows, torch.device("cpu"))
    for layer in range(shape.text.layers):
        for number in range(prompts):
            key = torch.zeros(shape.text.key_heads, tokens, shape.text.head_width).bfloat16()
            kept.write_prompt(layer, number, key, key)
    kept.extend(longest)
    real = sum(one.nbytes for layer in kept._layers.values() for one in layer)
    work = work_of(recipe(), prompts=prompts, sampled=rows, prompt=tokens, longest=longest)
    assert store_bytes(shape.text, work) == real
    assert store_bytes(shape.text, replace(work, parts=3)) == real / 3  # one prompt at a time


@pytest.mark.parametrize("family", QWEN)
def test_features_are_those_of_the_tower(family: str) -> None:
    model = small_model(family).bfloat16()
    patches = torch.randn(16 * 8, 3 * 2 * 14 * 14).bfloat16()
    with torch.no_grad():
        features = encoded_images(
            family_of(model), model.model.visual, patches, torch.tensor([[1, 16, 8]])
        )
    assert image_feature_bytes(shape_of(model.config), 16 * 8) == features.nbytes


# --- by hand -------------------------------------------------------------------------------------


def test_full_training_of_the_3b_model() -> None:
    # 3,085,938,688 trained parameters of 4, 4 and 8 bytes; a tower of 668,684,288 and the reference
    # of both in 2; 16,384 tokens x 36 layers x 2,048 numbers of 4 bytes; copies of 36 x 77,070,336
    # + 311,164,928 weights in 2; 4 x 2^25 logits of 4; 32 x 4.2 images of 512 x 2,048 numbers in 2;
    # scorers of 184 + 3 x 110 million float32.
    assert gib() == {
        "weights, trained": 11.5,
        "weights, frozen": 1.2,
        "reference policy": 7.0,
        "gradients": 11.5,
        "optimiser states": 23.0,
        "layer inputs of the largest pass": 4.5,
        "a layer at work, or copies of weights": 5.7,
        "logits of a chunk": 0.5,
        "features of the step's images": 0.3,
        "clinical models of reward and edits": 1.9,
        "workspace of CUDA (assumed)": 0.7,
    }
    # 36 layers of 2 x 256 numbers of 2 bytes for 32 prompts of 2,300 tokens and 5 x 256 more;
    # 160 rows of 151,936 logits in 2 bytes and three times in 8.
    rollout = gib(of="rollout")
    assert rollout["key/value cache"] == round(36 * 512 * 2 * 32 * (2300 + 5 * 256) / GIB, 1)
    assert rollout["logits of a decoding step"] == round(160 * 151_936 * 26 / GIB, 1)
    assert "gradients" not in rollout and "logits of a chunk" not in rollout


def test_what_a_setting_adds_or_saves() -> None:
    assert "reference policy" not in gib("objective.beta=0")
    assert "reference policy" not in gib("model.lora.rank=16")
    # The reference of a float32 policy whose tower is trained is float32: 3,754,622,976 x 4.
    assert gib("model.freeze_vision_tower=false")["reference policy"] == 14.0
    assert "clinical models of reward and edits" not in gib("clinical.device=cpu")
    assert gib("tokens_per_pass=4096")["layer inputs of the largest pass"] == 1.3  # 4,859 columns
    assert "activations of the largest pass" in gib("model.gradient_checkpointing=false")
    assert gib("rollout.engine=vllm_server", of="rollout").keys().isdisjoint({"key/value cache"})
    served = parts("rollout.engine=vllm_server")["a layer at work, or copies of weights"]
    assert served.rollout == 0
    vllm = gib("rollout.engine=vllm_colocate", of="rollout", gpu="h100-80gb")
    assert vllm["vLLM"] == round(0.3 * 80e9 / GIB, 1)


def test_a_tower_that_is_trained_keeps_its_layers_inputs() -> None:
    with_tower = parts("model.freeze_vision_tower=false")["layer inputs of the largest pass"]
    more = with_tower.update - parts()["layer inputs of the largest pass"].update
    # Of 16,384 / 4,859 groups (2,299 + 10 x 256 columns) 4.2 images of 2,048 patches, 32 layers of
    # 1,280 float32.
    assert more == pytest.approx(16_384 / 4859 * 4.2 * 2048 * 32 * 1280 * 4)


def test_launches_share_what_they_can() -> None:
    copies = gib(spread=Spread(gpus=4))
    assert copies["gradients, as DDP sends them"] == copies["gradients"] == 11.5
    shards = gib(spread=Spread(gpus=4, launch=Launch.FSDP2))
    assert shards["weights, trained"] == shards["gradients"] == 2.9  # 11.5 / 4
    assert shards["optimiser states"] == 5.7
    # The embedding, two layers of 77,070,336 and a copy of the tower, in 2 bytes.
    gathered = 2 * (311_164_928 + 2 * 77_070_336 + 668_684_288) / GIB
    assert shards["weights, gathered from shards"] == round(gathered, 1)
    # Layers are handed bfloat16: half of the 4.5 of whole copies.
    assert shards["layer inputs of the largest pass"] == 2.2


def test_scorers_are_those_of_reward_and_edits() -> None:
    # RaTE-NER has 184 million parameters, BioLORD, CheXbert and RadGraph-XL 110 each.
    assert scorer_bytes(recipe()) == 4 * (184 + 3 * 110) * 10**6
    assert scorer_bytes(recipe("clinical.dtype=bfloat16")) == 2 * (184 + 3 * 110) * 10**6
    assert scorer_bytes(recipe("edit.level=none", "reward.name=rules")) == 0
    assert scorer_bytes(recipe("reward.name=rules")) == 4 * (184 + 110) * 10**6


def test_a_judge_counts_where_it_runs_and_a_reward_of_ones_own_not() -> None:
    green = ["edit.level=none", "reward.name=rules", "reward.weights.green@radllama2-7b-guarded=1"]
    assert scorer_bytes(recipe(*green)) == 4 * 6_738 * 10**6
    assert scorer_bytes(recipe(*green, "clinical.green_endpoint=http://localhost:8000/v1")) == 0
    own = ["edit.level=none", "reward.name=custom", "reward.custom=my_reward:score"]
    assert scorer_bytes(recipe(*own)) == 0
    assert scorer_bytes(recipe(*own, "reward.weights.my_reward:score=0.5")) == 0


def test_on_the_plain_path_a_window_limits_what_a_layer_keeps() -> None:
    # Gemma 3 4B: 29 of 34 layers keep 1,024 tokens; 5 samples of 1,225 + 256, 4 heads of 256.
    gemma = PUBLISHED["google/medgemma-4b-it"]
    config = recipe("model.path=google/medgemma-4b-it")
    work = replace(work_of(config), is_packed=False).at_most
    assert (work.prompt, work.longest) == (1225, 256)
    assert store_bytes(gemma.text, work) == 2 * 2 * 1024 * 5 * (5 * 1481 + 29 * 1024)


def test_precision_follows_from_how_weights_are_held() -> None:
    def of(*changes: str, **other: bool) -> Precision:
        return states_of(recipe(*changes), **other).precision

    assert of() is of("optim.state=8bit") is Precision.AUTOCAST
    assert of("model.lora.rank=8") is Precision.BFLOAT16
    assert of("model.dtype=float32") is of("model.dtype=float32", "model.lora.rank=8")
    assert of("model.dtype=float32") is Precision.FLOAT32
    assert of(is_sharded=True) is Precision.BFLOAT16
    with pytest.raises(ConfigError, match="lm_head is not part of the estimate"):
        adapter_parameters(QWEN2_5_VL_3B.text, 4, ("lm_head",))
