"""The adapters inside the real verl and ms-swift: neither can be installed beside our own trainer.

`make trainers` builds an environment for each, with the core of this package alone, and runs the
tests of it there; in any other environment they skip.
"""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"

REFERENCE = "The heart is enlarged. No pneumothorax."
REPORTS = ["The heart is enlarged.", "There is a left pneumothorax.", REFERENCE]


@pytest.fixture(scope="session")
def examples() -> dict[str, str]:
    """Return the code blocks of docs/adapters.md by their first word."""
    blocks = re.findall(r"```(?:python|bash)\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    return {" ".join(block.split()[:2]): block for block in blocks}


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Return a tokenizer of all bytes, with Qwen's marks of a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE(vocab={one: i for i, one in enumerate(alphabet)}, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.add_special_tokens(["<|im_start|>", *special.values()])
    return PreTrainedTokenizerFast(tokenizer_object=bare, **special)
