"""A family that is added in one file: LLaVA, as docs/families.md writes it, packed.

Copy this file for a family of your own.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from editgrpo.config import AttentionKernel, DType
from editgrpo.data.prompt import Prompt
from editgrpo.training.packed.group_pass import add_group_pass
from editgrpo.training.packed.packing import pack_groups
from editgrpo.training.packed.self_check import check_group_pass
from editgrpo.training.policy import families
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.load import load_for_inference, load_processor
from editgrpo.training.policy.plain_processor import PlainProcessor
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling.self_check import CHECKED_TOKENS, check_sampling
from tests.builders import REPOSITORY
from tests.checkpoints.llava import write_llava
from tests.parity.test_gemma3 import stock
from tests.parity.test_group_pass import assert_same, ours
from tests.training.tiny_run import SENTENCES

pytestmark = pytest.mark.parity

QUESTIONS = ("Describe the heart and compare.", "Is there a pleural effusion?", "The lungs?")
FILMS = (2, 1, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava") / "model", [*SENTENCES, *QUESTIONS] * 9)


@pytest.fixture(scope="module", autouse=True)
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the file of the docs where the families are."""
    text = (REPOSITORY / "docs/families.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    place = tmp_path_factory.mktemp("families")
    (place / "llava.py").write_text(code)
    families.__path__.append(str(place))
    families._loaded.cache_clear()
    yield
    families.__path__.remove(str(place))
    sys.modules.pop(f"{families.__name__}.llava", None)
    families._loaded.cache_clear()


@pytest.fixture
def model(folder: Path) -> Any:
    return load_for_inference(folder, dtype=torch.float32)


def encoded(processor: Any) -> list[EncodedPrompt]:
    draw = np.random.default_rng(0)
    prompts = []
    for number, (question, count) in enumerate(zip(QUESTIONS, FILMS, strict=True)):
        films = [draw.integers(0, 256, (70, 60, 3), dtype=np.uint8) for _ in range(count)]
        parts = [{"type": "image"} for _ in films] + [{"type": "text", "text": question}]
        prompt = Prompt([{"role": "user", "content": parts}], ())
        patches = [processor.patches(film) for film in films]
        prompts.append(processor.assemble(f"s{number}", prompt, [(70, 60)] * count, patches))
    return prompts


@pytest.fixture
def prompts(folder: Path) -> list[EncodedPrompt]:
    return encoded(load_processor(folder))


@pytest.fixture
def stock_prompts(folder: Path) -> list[EncodedPrompt]:
    """As the family's own processor writes them."""
    from transformers import AutoProcessor

    return encoded(PlainProcessor(AutoProcessor.from_pretrained(folder), folder))


@pytest.fixture
def responses() -> list[list[list[int]]]:
    draw = np.random.default_rng(1)
    lengths = ((5, 1, 11), (1, 2, 8), (7, 7))
    return [[draw.integers(260, 330, n).tolist() for n in group] for group in lengths]


def test_it_is_packed(folder: Path) -> None:
    assert families.family_types().count("llava") == 1
    assert "LLaVA (llava)" in families.supported_families()
    assert not load_processor(folder).is_plain


def test_tokens_and_pixels_are_those_of_the_stock_processor(
    prompts: list[EncodedPrompt], stock_prompts: list[EncodedPrompt]
) -> None:
    for one, expected in zip(prompts, stock_prompts, strict=True):
        assert torch.equal(one.input_ids_T, expected.input_ids_T)
        found, wanted = one.stock_inputs(), expected.stock_inputs()
        for name in found:
            assert torch.equal(found[name], wanted[name]), name
    assert [int(one.is_image_token_T.sum()) for one in prompts] == [32, 16, 0]


@pytest.mark.parametrize("kernel", [AttentionKernel.SPLIT, AttentionKernel.DENSE])
def test_log_probs_and_gradients_equal_those_of_separate_rows(
    model: Any,
    prompts: list[EncodedPrompt],
    stock_prompts: list[EncodedPrompt],
    responses: list[list[list[int]]],
    kernel: AttentionKernel,
) -> None:
    model.train()
    expected = stock(model, stock_prompts, responses)
    add_group_pass(model, temperature=1.0)
    packed = pack_groups(model, prompts, responses, kernel=kernel)
    assert_same(ours(model, packed, responses), expected)
    largest = max(float(v.abs().max()) for name, v in expected[1].items() if "vision" in name)
    assert largest > 1e-3, "the model should look at its films"


def test_the_checks_at_the_start_of_a_run_pass(
    model: Any, prompts: list[EncodedPrompt], responses: list[list[list[int]]]
) -> None:
    settings = SamplingSettings(max_tokens=4, eos_token_ids=(2,), pad_token_id=3)
    checked = check_sampling(model.eval(), prompts[0], settings, dtype=DType.FLOAT32)
    assert checked == CHECKED_TOKENS
    add_group_pass(model, temperature=1.0)
    packed = pack_groups(model, prompts[:1], responses[:1])
    found = check_group_pass(
        model, packed, prompts[0], responses[0], dtype=DType.FLOAT32, temperature=1.0
    )
    assert found < 1e-5
