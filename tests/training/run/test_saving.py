"""What is saved: one number format, and the keys and files that other readers look for."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from editgrpo.training.policy.load import load_for_inference, load_processor
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.run.saving import finish_model, format_of, in_one_format, publish_config
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.published import QWEN3_VL, learnt_vocabulary, write_published
from tests.training.tiny_run import Tiny


def test_the_widest_format_is_taken_and_loses_nothing() -> None:
    low = torch.tensor([1.0078125, -3.140625], dtype=torch.bfloat16)  # 1 + 2^-7 and such
    high, whole = torch.tensor([1e-8]), torch.tensor([7])
    found = in_one_format({"low": low, "high": high, "whole": whole})
    assert found["high"] is high and found["whole"] is whole
    assert found["low"].dtype is torch.float32
    assert found["low"].tolist() == [1.0078125, -3.140625]
    assert in_one_format({"low": low})["low"] is low
    assert format_of({}) is torch.float32


def test_tensors_that_were_one_stay_one() -> None:
    """A tied head that became a copy would be written a second time."""
    table = torch.ones(2, 3, dtype=torch.bfloat16)
    found = in_one_format({"embedding": table, "head": table, "other": torch.zeros(1)})
    assert found["embedding"] is found["head"]


ROPE: list[dict[str, Any]] = [
    {"rope_type": "default", "rope_theta": 5e5, "mrope_section": [2, 3, 3]},
    {
        "rope_type": "yarn",
        "rope_theta": 1e6,
        "mrope_section": [2, 3, 3],
        "factor": 4.0,
        "original_max_position_embeddings": 32768,
    },
]


@pytest.mark.parametrize("rope", ROPE, ids=["default", "yarn"])
def test_published_keys_mean_what_the_saved_ones_did(
    tiny: Tiny, tmp_path: Path, rope: dict[str, Any]
) -> None:
    config = AutoConfig.from_pretrained(tiny.checkpoint)
    config.text_config.rope_parameters = rope
    config.text_config.use_cache = False  # as gradient checkpointing leaves it
    config.save_pretrained(tmp_path)
    before = AutoConfig.from_pretrained(tmp_path).to_dict()
    publish_config(tmp_path, torch.bfloat16)
    after = AutoConfig.from_pretrained(tmp_path).to_dict()
    published = json.loads((tmp_path / "config.json").read_text())
    assert "text_config" not in published and "rope_parameters" not in published
    assert published["dtype"] == published["torch_dtype"] == "bfloat16"
    assert published["rope_theta"] == rope["rope_theta"]
    assert published["rope_scaling"]["mrope_section"] == [2, 3, 3]
    assert after["text_config"].pop("use_cache") and not before["text_config"].pop("use_cache")
    for one in (before, after):
        one["text_config"]["rope_parameters"].pop("type", None)  # says "mrope", and nothing more
        one["text_config"].pop("tie_word_embeddings", None)  # stands above, as published
        for part in (one, one["text_config"], one["vision_config"]):
            part.pop("dtype", None)
    assert after["tie_word_embeddings"] and before["tie_word_embeddings"]
    assert after == before
    publish_config(tmp_path, torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text()) == published


INTERLEAVED: list[dict[str, Any]] = [
    {**rope, "mrope_section": [6, 5, 5], "mrope_interleaved": True} for rope in ROPE
]


@pytest.mark.slow
@pytest.mark.parametrize("rope", INTERLEAVED, ids=["default", "yarn"])
def test_what_is_published_nested_stays_nested(tmp_path: Path, rope: dict[str, Any]) -> None:
    """Qwen3-VL; transformers 4.57 looks for a tied head and rotary settings in `text_config`."""
    start = write_published(tmp_path / "start", QWEN3_VL, learnt_vocabulary(SENTENCES))
    config, saved = AutoConfig.from_pretrained(start), tmp_path / "saved"
    config.text_config.rope_parameters = rope
    config.use_cache = config.text_config.use_cache = False  # as gradient checkpointing leaves it
    del config.text_config.tie_word_embeddings  # as in a model that was built from its classes
    config.save_pretrained(saved)
    assert not json.loads((saved / "config.json").read_text())["use_cache"]
    before = AutoConfig.from_pretrained(saved).to_dict()
    publish_config(saved, torch.bfloat16)
    after = AutoConfig.from_pretrained(saved).to_dict()
    published = json.loads((saved / "config.json").read_text())
    text = published["text_config"]
    assert "rope_parameters" not in text
    assert published.keys().isdisjoint({"rope_scaling", "rope_theta", "use_cache"})
    assert text["rope_theta"] == rope["rope_theta"]
    assert text["rope_scaling"] == {key: rope[key] for key in rope if key != "rope_theta"}
    assert text["tie_word_embeddings"] and text["dtype"] == published["dtype"] == "bfloat16"
    assert published["vision_config"]["model_type"] == QWEN3_VL
    assert after["text_config"].pop("use_cache") and not before["text_config"].pop("use_cache")
    for one in (before, after):
        one["text_config"].pop("tie_word_embeddings", None)  # stands above, too
        for part in (one, one["text_config"], one["vision_config"]):
            part.pop("dtype", None)
    assert after == before
    publish_config(saved, torch.bfloat16)
    assert json.loads((saved / "config.json").read_text()) == published


@pytest.mark.slow
def test_a_finished_folder_is_read_as_the_one_it_came_from(tiny: Tiny, tmp_path: Path) -> None:
    model = tiny.load()
    studies, encoder = tiny.encoder()
    model.save_pretrained(tmp_path)
    publish_config(tmp_path, torch.float32)
    finish_model(tmp_path, encoder)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"vocab.json", "merges.txt", "tokenizer.json", "README.md"} <= names
    again = PromptEncoder(studies, load_processor(tmp_path), tiny.data())
    for study in (studies[0], studies[1]):
        left, right = encoder.encode(study), again.encode(study)
        assert torch.equal(left.input_ids_T, right.input_ids_T)
        assert left.pixel_values is not None and right.pixel_values is not None
        assert torch.equal(left.pixel_values, right.pixel_values)
    one, two = (
        AutoTokenizer.from_pretrained(tiny.checkpoint),
        AutoTokenizer.from_pretrained(tmp_path),
    )
    assert one.all_special_ids == two.all_special_ids
    assert one.eos_token_id == two.eos_token_id
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    # Names that transformers knew before version 5, where a list of tokens was no mapping.
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert isinstance(settings.get("extra_special_tokens", {}), dict)
    loaded = load_for_inference(tmp_path, dtype=torch.float32)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(
        loaded.state_dict().values(), model.state_dict().values(), strict=True
    ))  # fmt: skip


def test_the_end_tokens_of_the_tokenizer_and_of_the_model_are_declared(
    tiny: Tiny, tmp_path: Path
) -> None:
    model = tiny.load()
    _, encoder = tiny.encoder()
    ends = encoder.processor.tokenizer.eos_token_id
    model.generation_config.eos_token_id = [17, ends]
    model.generation_config.repetition_penalty = 1.05
    model.save_pretrained(tmp_path)
    finish_model(tmp_path, encoder)
    written = json.loads((tmp_path / "generation_config.json").read_text())
    assert written["eos_token_id"] == [ends, 17]
    assert written["do_sample"] is False
    assert "repetition_penalty" not in written and "temperature" not in written
