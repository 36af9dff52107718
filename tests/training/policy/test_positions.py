"""Where text layers are: families give them other names."""

from collections.abc import Callable
from typing import Any

import pytest

from editgrpo.config import LoraConfig
from editgrpo.training.policy.load import peft_config
from editgrpo.training.policy.positions import language_model, language_model_name

TEXT = {
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
    "num_key_value_heads": 1, "vocab_size": 12, "pad_token_id": 0,
}  # fmt: skip
VISION = {
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
    "image_size": 8, "patch_size": 4,
}  # fmt: skip


def _llava() -> Any:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    vision = VISION | {"model_type": "clip_vision_model", "projection_dim": 4}
    config = LlavaConfig(
        text_config=TEXT | {"model_type": "llama"}, vision_config=vision, image_token_index=3
    )
    return LlavaForConditionalGeneration(config)


def _idefics3() -> Any:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    config = Idefics3Config(
        text_config=TEXT | {"model_type": "llama"},
        vision_config=VISION,
        image_token_id=3,
        pad_token_id=0,
    )
    return Idefics3ForConditionalGeneration(config)


@pytest.mark.parametrize(("build", "name"), [(_llava, "language_model"), (_idefics3, "text_model")])
def test_adapters_are_in_the_text_layers_alone(build: Callable[[], Any], name: str) -> None:
    import peft

    model = build()
    assert language_model(model) is getattr(model.model, name)
    assert language_model_name(model) == name
    adapted = peft.get_peft_model(model, peft_config(LoraConfig(rank=2), model))
    found = {one.split(".lora_")[0] for one, _ in adapted.named_parameters() if ".lora_" in one}
    # One layer; the vision encoders have layers of the same names.
    assert found == {
        f"base_model.model.model.{name}.layers.0.self_attn.{one}_proj" for one in "qkvo"
    }
