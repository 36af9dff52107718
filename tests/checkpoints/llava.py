"""A small model laid out as LLaVA 1.5 is published: CLIP at a square, Llama, one token a patch.

Keys and files are those of the repository, sizes and weights are not, and the tokenizer is a BPE
with byte fallback, as Llama's, that adds no space to the beginning.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from editgrpo.training.policy.tiny_gemma3 import byte_fallback_bpe, words_of

_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% else %}{{ ' ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def write_llava(folder: Path, texts: Sequence[str], *, seed: int = 6) -> Path:
    """Write a small model as LLaVA 1.5 is published.

    Args:
        folder: Where; made.
        texts: What the tokenizer learns from.
        seed: Of its random weights.

    Returns:
        The folder.
    """
    from transformers import (
        CLIPImageProcessorPil,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    words = [word for text in texts for word in words_of(text)]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_fallback_bpe(words, ("<unk>", "<s>", "</s>", "<pad>"), 500),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": "<image>"},
    )
    side = {"height": 56, "width": 56}
    images = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size=side)
    config = LlavaConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer) + 8,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 2048,
        },
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "projection_dim": 16,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
        for name, parameter in model.named_parameters():  # a fresh one hardly looks at its input
            if parameter.dim() > 1 and "embed" not in name:
                parameter.data.mul_(6)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    ).save_pretrained(folder)
    path = folder / "tokenizer_config.json"  # a prompt begins with <s>, as Llama's
    path.write_text(json.dumps(json.loads(path.read_text()) | {"add_bos_token": True}))
    return folder
