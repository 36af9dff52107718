"""Small models laid out as Qwen2.5-VL-3B-Instruct, Qwen2-VL-2B-Instruct and Qwen3-VL-4B-Instruct
are published.

Keys, names and files are those of the three repositories, sizes and weights are not: configuration
and weight names of transformers 4.41, for Qwen3-VL of 4.57; two shards in bfloat16 with an index
and without the tied head, two end tokens, slow and fast tokenizer files with 22 added tokens, 26 of
Qwen3-VL. Qwen2.5-VL's tokenizer holds a template for text and tools, and its image template lies in
a file of its own. Templates are read from TRL, which carries copies.
"""

import base64
import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

QWEN2_5_VL, QWEN2_VL, QWEN3_VL = "qwen2_5_vl", "qwen2_vl", "qwen3_vl"
PUBLISHED = (QWEN2_5_VL, QWEN2_VL, QWEN3_VL)
ADDED = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>",
    "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
)  # fmt: skip
_BEFORE_QWEN3 = 22  # the first so many are Qwen2-VL's and Qwen2.5-VL's
_SPECIAL = 14  # the first so many are special
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A byte-level BPE.

    Attributes:
        ids: Of each token but the added ones, counted from 0 without a gap.
        merges: In the order of their ranks.
        size: Rows of the embedding; as published, more than there are tokens.
    """

    ids: dict[str, int]
    merges: list[tuple[str, str]]
    size: int

    def id_of(self, added: str) -> int:
        """Return the id of an added token."""
        return len(self.ids) + ADDED.index(added)


def learnt_vocabulary(texts: Sequence[str], entries: int = 400) -> Vocabulary:
    """Learn a small vocabulary from texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=entries, initial_alphabet=_ALPHABET, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return Vocabulary(model["vocab"], merges, size=entries + 64)


def true_vocabulary(ranks: Path) -> Vocabulary:
    """Read the 151,643 entries of Qwen2 from a tiktoken file; a token's merge follows from the
    ranks of its parts."""
    rank_of = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in ranks.read_bytes().splitlines() if line)
    }
    shown = _bytes_shown()
    merges = []
    for token in sorted(rank_of, key=rank_of.__getitem__):
        if len(token) > 1:
            left, right = _two_parts(token, rank_of)
            merges.append((_show(left, shown), _show(right, shown)))
    ids = {_show(token, shown): rank for token, rank in rank_of.items()}
    return Vocabulary(ids, merges, size=151_936)


def _two_parts(token: bytes, rank_of: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Merge a token's bytes by all earlier ranks: what is left are the two parts of its own."""
    parts = [token[k : k + 1] for k in range(len(token))]
    while len(parts) > 2:
        ranks = [rank_of.get(a + b, 1 << 30) for a, b in pairwise(parts)]
        k = ranks.index(min(ranks))
        parts[k : k + 2] = [parts[k] + parts[k + 1]]
    return parts[0], parts[1]


def _bytes_shown() -> dict[int, str]:
    """Return the printable character that stands for each byte in byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + k) for k, byte in enumerate(others)
    }


def _show(token: bytes, shown: dict[int, str]) -> str:
    return "".join(shown[byte] for byte in token)


def write_published(folder: Path, family: str, vocabulary: Vocabulary, *, seed: int = 5) -> Path:
    """Write a small model as the family is published.

    Args:
        folder: Where; made.
        family: One of PUBLISHED.
        vocabulary: Of its tokenizer.
        seed: Of its random weights.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    config = _config(family, vocabulary)
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", _generation_config(family, vocabulary))
    _write_tokenizer(folder, family, vocabulary)
    _write_json(folder / "preprocessor_config.json", _PREPROCESSOR[family])
    if family == QWEN3_VL:
        _write_json(folder / "video_preprocessor_config.json", _VIDEO_PREPROCESSOR)
    _write_json(folder / "chat_template.json", {"chat_template": image_template(family)})
    _write_weights(folder, family, config, seed)
    return folder


_CUT_14 = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "Qwen2VLImageProcessor",
}
_CUT_16 = {
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
}
_PREPROCESSOR = {
    QWEN2_5_VL: _CUT_14 | {"processor_class": "Qwen2_5_VLProcessor"},
    QWEN2_VL: _CUT_14 | {"processor_class": "Qwen2VLProcessor"},
    QWEN3_VL: _CUT_16
    | {
        "size": {"longest_edge": 16777216, "shortest_edge": 65536},
        "image_processor_type": "Qwen2VLImageProcessorFast",
    },
}
_VIDEO_PREPROCESSOR = _CUT_16 | {
    "size": {"longest_edge": 25165824, "shortest_edge": 4096},
    "video_processor_type": "Qwen3VLVideoProcessor",
}
_VISION: dict[str, dict[str, Any]] = {
    QWEN2_5_VL: {
        "depth": 2,
        "hidden_act": "silu",
        "hidden_size": 32,
        "intermediate_size": 96,
        "num_heads": 2,
        "in_chans": 3,
        "out_hidden_size": 32,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
        "temporal_patch_size": 2,
    },
    QWEN2_VL: {
        "depth": 2,
        "embed_dim": 32,
        "mlp_ratio": 4,
        "num_heads": 2,
        "in_chans": 3,
        "hidden_size": 32,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "temporal_patch_size": 2,
    },
    QWEN3_VL: {
        "deepstack_visual_indexes": [0, 1],
        "depth": 3,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "model_type": "qwen3_vl",
        "num_heads": 2,
        "num_position_embeddings": 36,
        "out_hidden_size": 32,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}
_ARCHITECTURES = {
    QWEN2_5_VL: "Qwen2_5_VLForConditionalGeneration",
    QWEN2_VL: "Qwen2VLForConditionalGeneration",
    QWEN3_VL: "Qwen3VLForConditionalGeneration",
}


def _config(family: str, vocabulary: Vocabulary) -> dict[str, Any]:
    of = vocabulary.id_of
    if family == QWEN3_VL:
        return _nested_config(vocabulary)
    return {
        "architectures": [_ARCHITECTURES[family]],
        "attention_dropout": 0.0,
        "bos_token_id": of("<|endoftext|>"),
        "eos_token_id": of("<|im_end|>"),
        "vision_start_token_id": of("<|vision_start|>"),
        "vision_end_token_id": of("<|vision_end|>"),
        "vision_token_id": of("<|vision_pad|>"),
        "image_token_id": of("<|image_pad|>"),
        "video_token_id": of("<|video_pad|>"),
        "hidden_act": "silu",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": 128000 if family == QWEN2_5_VL else 32768,
        "max_window_layers": 70 if family == QWEN2_5_VL else 28,
        "model_type": family,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": _VISION[family],
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "vocab_size": vocabulary.size,
    }


def _nested_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """Keep what is of the text layers apart, as Qwen3-VL does; heads are wider than their share."""
    of = vocabulary.id_of
    text = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": of("<|endoftext|>"),
        "dtype": "bfloat16",
        "eos_token_id": of("<|im_end|>"),
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": 262144,
        "model_type": "qwen3_vl_text",
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        # [24, 20, 20] of heads of 128.
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [6, 5, 5],
            "rope_type": "default",
        },
        "rope_theta": 5000000,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": vocabulary.size,
    }
    return {
        "architectures": [_ARCHITECTURES[QWEN3_VL]],
        "image_token_id": of("<|image_pad|>"),
        "model_type": QWEN3_VL,
        "text_config": text,
        "tie_word_embeddings": True,
        "transformers_version": "4.57.0.dev0",
        "video_token_id": of("<|video_pad|>"),
        "vision_config": _VISION[QWEN3_VL],
        "vision_end_token_id": of("<|vision_end|>"),
        "vision_start_token_id": of("<|vision_start|>"),
    }


_DRAWING = {
    QWEN2_5_VL: {"repetition_penalty": 1.05, "temperature": 0.000001},
    QWEN2_VL: {"repetition_penalty": 1.0, "temperature": 0.01, "top_p": 0.001, "top_k": 1},
    QWEN3_VL: {"repetition_penalty": 1.0, "temperature": 0.7, "top_p": 0.8, "top_k": 20},
}


def _generation_config(family: str, vocabulary: Vocabulary) -> dict[str, Any]:
    end, text_end = vocabulary.id_of("<|im_end|>"), vocabulary.id_of("<|endoftext|>")
    return {
        "bos_token_id": text_end,
        "pad_token_id": text_end,
        "do_sample": True,
        "eos_token_id": [end, text_end],
        **_DRAWING[family],
        "transformers_version": "4.56.0" if family == QWEN3_VL else "4.41.2",
    }


def _pre_tokenizer() -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _write_tokenizer(folder: Path, family: str, vocabulary: Vocabulary) -> None:
    _write_json(folder / "vocab.json", vocabulary.ids)
    merges = "".join(f"{left} {right}\n" for left, right in vocabulary.merges)
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    fast = Tokenizer(models.BPE(vocab=vocabulary.ids, merges=vocabulary.merges))
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = _pre_tokenizer()
    fast.decoder = decoders.ByteLevel()
    fast.post_processor = processors.ByteLevel(trim_offsets=False)
    added = added_tokens(family)
    for number, token in enumerate(added):
        is_special = number < _SPECIAL
        fast.add_tokens([AddedToken(token, special=is_special, normalized=False)])
    fast.save(str(folder / "tokenizer.json"))
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    template = trl_template("qwen2_5") if family == QWEN2_5_VL else image_template(family)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(vocabulary.id_of(token)): {"content": token, **plain, "special": k < _SPECIAL}
                for k, token in enumerate(added)
            },
            "additional_special_tokens": list(ADDED[1:_SPECIAL]),
            "bos_token": None,
            "chat_template": template,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 262144 if family == QWEN3_VL else 131072,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


def _write_weights(folder: Path, family: str, config: dict[str, Any], seed: int) -> None:
    """Write what a new model of the installed transformers holds, under the published names."""
    import transformers

    architecture = getattr(transformers, _ARCHITECTURES[family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Configuration classes change mappings that they are given.
        model = architecture(architecture.config_class(**copy.deepcopy(config)))
        for parameter in model.parameters():  # a fresh model hardly looks at its input
            if parameter.dim() > 1:
                parameter.data.mul_(4)
    weights = {
        _published_name(family, name): value
        for name, value in model.to(torch.bfloat16).state_dict().items()
        if name != "lm_head.weight"
    }
    names = sorted(weights)
    half = len(names) // 2
    shards = {
        "model-00001-of-00002.safetensors": names[:half],
        "model-00002-of-00002.safetensors": names[half:],
    }
    for shard, held in shards.items():
        kept = {name: weights[name].contiguous() for name in held}
        save_file(kept, folder / shard, metadata={"format": "pt"})
    place = {name: shard for shard, held in shards.items() for name in held}
    assert place.keys() == weights.keys()
    total = sum(value.numel() * value.element_size() for value in weights.values())
    _write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": place},
    )


def _published_name(family: str, name: str) -> str:
    if family == QWEN3_VL:
        return name
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def added_tokens(family: str) -> tuple[str, ...]:
    """Return the tokens that a family adds to its byte pairs, in the order of their ids."""
    return ADDED if family == QWEN3_VL else ADDED[:_BEFORE_QWEN3]


def image_template(family: str) -> str:
    """Return the template with images that a family is published with."""
    return trl_template("qwen3_vl" if family == QWEN3_VL else "qwen2_5_vl")


def trl_template(name: str) -> str:
    """Return one of TRL's copies of published chat templates."""
    return (files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
