"""The judge in this process, on a small random checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch

from editgrpo.config import ClinicalConfig
from editgrpo.errors import RewardError
from editgrpo.metrics.green.local import LocalBackend, _load
from editgrpo.metrics.green.prompt import build_prompt, chat_text
from editgrpo.metrics.judges.costs import take_costs
from tests.checkpoints.green import build_green

REPORT = "The heart is enlarged. No pleural effusion."
PROMPTS = [
    build_prompt(REPORT, "The lungs are clear. No pleural effusion. The heart is normal."),
    build_prompt(REPORT, ""),
    build_prompt("Naïve 5 µm nodule.", REPORT),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ClinicalConfig:
    folder = tmp_path_factory.mktemp("models")
    build_green(folder / "green")
    torch.set_num_threads(1)
    return ClinicalConfig(models=str(folder), device="cpu")


def loaded(config: ClinicalConfig) -> tuple[Any, Any]:
    model, tokenizer = _load(config)
    return model, tokenizer


def token_count(config: ClinicalConfig, prompt: str) -> int:
    return len(loaded(config)[1](chat_text(prompt))["input_ids"])


def test_an_answer_is_the_greedy_continuation(config: ClinicalConfig) -> None:
    model, tokenizer = loaded(config)
    # The tokenizer's own beginning-of-sequence token, then one token at a time without a cache.
    ids = tokenizer(chat_text(PROMPTS[0]), return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    assert ids[0, 0] == tokenizer.bos_token_id
    assert ids[0].tolist().count(tokenizer.eos_token_id) == 3  # question, empty answer, added end
    for _ in range(12):
        with torch.no_grad():
            following = model(ids).logits[0, -1].argmax()
        ids = torch.cat([ids, following.view(1, 1)], dim=1)
    expected = tokenizer.decode(ids[0, start:], skip_special_tokens=True)
    assert LocalBackend(config, max_tokens=start + 12).answer(PROMPTS[:1]) == [expected]


def test_an_answer_does_not_depend_on_its_batch(config: ClinicalConfig) -> None:
    lengths = [token_count(config, prompt) for prompt in PROMPTS]
    assert len(set(lengths)) == 3
    backend = LocalBackend(config, max_tokens=max(lengths) + 4)
    together = backend.answer(PROMPTS)
    assert together == [backend.answer([prompt])[0] for prompt in PROMPTS]
    # What is left of the limit is counted for each question: the shortest has the longest answer.
    tokenizer = loaded(config)[1]
    sizes = [len(tokenizer.encode(one, add_special_tokens=False)) for one in together]
    assert sizes.index(max(sizes)) == lengths.index(min(lengths))


def test_an_answer_ends_where_the_model_ends_it(config: ClinicalConfig) -> None:
    model, tokenizer = loaded(config)
    ids = tokenizer(chat_text(PROMPTS[0]), return_tensors="pt")["input_ids"]
    limit = ids.shape[1] + 8
    with torch.no_grad():
        first = int(model(ids).logits[0, -1].argmax())
    head = model.lm_head.weight
    kept = head.detach().clone()
    try:  # make the end of sequence more likely than what was said first
        head.data[tokenizer.eos_token_id] = 1.1 * kept[first]
        take_costs()
        (nothing,) = LocalBackend(config, max_tokens=limit).answer(PROMPTS[:1])
    finally:
        head.data.copy_(kept)
    assert nothing == ""
    costs = take_costs()
    assert costs["judge/green/calls"] == 1
    assert costs["judge/green/answer_tokens"] == 0
    assert costs["judge/green/prompt_tokens"] == token_count(config, PROMPTS[0])


def test_a_batch_that_does_not_fit_is_halved(
    config: ClinicalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = max(token_count(config, prompt) for prompt in PROMPTS) + 4
    backend = LocalBackend(config, max_tokens=limit)
    expected = backend.answer(PROMPTS)
    sizes: list[int] = []
    generate = backend._generate

    def crowded(model: Any, tokenizer: Any, ids: list[list[int]]) -> list[str]:
        sizes.append(len(ids))
        if len(ids) > 1:
            raise torch.OutOfMemoryError
        return generate(model, tokenizer, ids)

    monkeypatch.setattr(backend, "_generate", crowded)
    assert backend.answer(PROMPTS) == expected
    assert sizes == [3, 1, 2, 1, 1]


def test_a_question_without_room_for_an_answer_is_refused(config: ClinicalConfig) -> None:
    limit = token_count(config, PROMPTS[0])
    with pytest.raises(RewardError, match=f"index 1 has {limit} tokens of {limit}") as error:
        LocalBackend(config, max_tokens=limit).answer([PROMPTS[1], PROMPTS[0]])
    assert "heart" not in str(error.value)


def test_the_identity_names_weights_and_number_format(
    config: ClinicalConfig, tmp_path: Path
) -> None:
    build_green(tmp_path / "green", seed=1)
    other = ClinicalConfig(models=str(tmp_path), device="cpu")
    assert LocalBackend(config).identity == LocalBackend(config).identity
    assert LocalBackend(config).identity != LocalBackend(other).identity
    assert LocalBackend(config).identity.endswith("float32")
