"""Text that a model's tokenizer would read as one of its control tokens.

`<|im_end|>` within a report ends the answer there, and `<|image_pad|>` within an indication is an
image without pixels. The tokens of the known families are refused when a set is prepared; those
that a model at hand adds of its own, when its run starts (`training/policy/special_tokens.py`).
"""

import re

# Qwen: <|im_end|>, <|vision_start|>, <think>, <tool_call>; Gemma 3: <start_of_turn>,
# <image_soft_token>; Llama and its kin: <s>, </s>, [INST], <|eot_id|>; DeepSeek: full-width bars.
_TOKEN = re.compile(
    r"<[|\uff5c][^\s<>]{1,64}[|\uff5c]>|\[/?INST\]|<</?SYS>>"
    r"|</?(?:s|bos|eos|pad|unk|mask|cls|sep|image|img|video|audio|start_of_(?:turn|image)"
    r"|end_of_(?:turn|image)|image_soft_token|think|tool_call|tool_response|unused\d+)>",
    re.IGNORECASE,
)
CONTEXT_FIELDS = ("indication", "technique", "comparison")
"""The sections that a prompt shows."""

SHOWN_FIELDS = (*CONTEXT_FIELDS, "findings", "impression")
"""The sections that can reach a model: its context, and the text to learn."""


def holds_special_token(text: str) -> bool:
    """Say whether a text holds a control token of a known family of models, or `<image>`."""
    return _TOKEN.search(text) is not None
