"""What the benchmark of a GPU computes on: the model's shape, prompts, answers, edits, scorers.

Everything is drawn, nothing downloaded. Weights are random, since speed depends on shapes; a random
model does not end its answers by itself, so the draws of sampling are chosen to end each row at a
length from a fixed list. The SMALL shape runs the same code on a CPU in seconds.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.processor import EncodedPrompt

_MERGE = 2  # patches along an image token
_FRAMES, _COLORS = 2, 3  # the tower reads a still image as two equal frames
_ALMOST_ONE = 1 - 2**-53  # the largest draw: inversion gives the last token of the vocabulary
_TEXT_BEFORE_IMAGES = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Sizes of the model and of one training step.

    Attributes:
        text: Of the language model, as transformers names them.
        vision: Of the vision tower, likewise.
        images_P: Images of each prompt.
        grids: Rows and columns of patches of an image; images take them in turn.
        text_tokens: Tokens of a prompt that are no image; prompts take them in turn.
        answer_tokens: Lengths of sampled answers to draw from, their end included.
        samples: Answers sampled for a prompt; as many are edited versions of them.
        scorer: Layers and width of the scorers' encoders.
        tokens_per_pass: Budget of the step's passes.
        sweep: Budgets to compare.
        shallow_layers: Layers of the model whose passes are compared in float32.
        matmul: Side of the square product that measures the device.
    """

    text: dict[str, Any]
    vision: dict[str, Any]
    images_P: tuple[int, ...]
    grids: tuple[tuple[int, int], ...]
    text_tokens: tuple[int, ...]
    answer_tokens: tuple[int, ...]
    samples: int
    scorer: dict[str, int]
    tokens_per_pass: int
    sweep: tuple[int, ...]
    shallow_layers: int
    matmul: int

    @property
    def vocabulary(self) -> int:
        """Entries of the embedding. The last ends an answer; the four before it mark images."""
        return int(self.text["vocab_size"])

    @property
    def end_token(self) -> int:
        """Ends an answer."""
        return self.vocabulary - 1

    @property
    def image_token(self) -> int:
        """Stands where an image token does."""
        return self.vocabulary - 2

    @property
    def words(self) -> int:
        """Tokens below this are words."""
        return self.vocabulary - 5

    @property
    def group(self) -> int:
        """Answers to a prompt, edited ones included."""
        return 2 * self.samples

    @property
    def max_tokens(self) -> int:
        """Longest answer."""
        return max(self.answer_tokens)


# Qwen2.5-VL-3B-Instruct's published config.json, and the paper's step: 32 prompts, 10 answers each,
# half of them sampled, 134 images (4.2 a prompt) of 512 tokens on average.
PAPER = Shape(
    text={
        "hidden_size": 2048,
        "intermediate_size": 11_008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
        "max_position_embeddings": 128_000,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
            "mrope_section": [16, 24, 24],
        },
    },
    vision={
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 2048,
        "patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
    images_P=(4, 3, 6, 2, 5, 4, 4, 8, 3, 4, 2, 6, 4, 5, 3, 4) * 2,
    grids=((46, 44), (44, 48), (52, 40), (48, 42), (40, 50)),  # 500 to 528 image tokens
    text_tokens=(130, 150, 170, 140, 160),
    answer_tokens=tuple(range(100, 151, 5)),
    samples=5,
    scorer={"layers": 12, "width": 768},
    tokens_per_pass=16_384,
    sweep=(4096, 8192, 16_384, 32_768),
    shallow_layers=4,
    matmul=8192,
)

SMALL = Shape(
    text={
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 256,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [2, 3, 3],
        },
    },
    vision={
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [1],
    },
    images_P=(2, 1, 3, 0),
    grids=((8, 6), (6, 10)),
    text_tokens=(20, 24),
    answer_tokens=(8, 10, 12),
    samples=2,
    scorer={"layers": 1, "width": 24},
    tokens_per_pass=256,
    sweep=(128, 512),
    shallow_layers=1,
    matmul=128,
)


def build_model(
    shape: Shape, device: torch.device, *, layers: int | None = None, seed: int = 0
) -> Any:
    """Build the model with random weights, on the device itself.

    Args:
        shape: Its sizes.
        device: Where it is.
        layers: Layers of the language model, if not the shape's; the tower then has two.
        seed: Decides the weights.

    Returns:
        A float32 `Qwen2_5_VLForConditionalGeneration` in evaluation mode.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text, vision = dict(shape.text), dict(shape.vision)
    if layers is not None:
        text["num_hidden_layers"] = layers
        vision |= {"depth": 2, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(
        text_config={
            **text,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "pad_token_id": 0,
            "eos_token_id": shape.end_token,
        },
        vision_config=vision,
        image_token_id=shape.image_token,
        video_token_id=shape.vocabulary - 3,
        vision_end_token_id=shape.vocabulary - 4,
        vision_start_token_id=shape.vocabulary - 5,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    torch.manual_seed(seed)
    # Not on the meta device: tables of rotary frequencies are computed when a model is built.
    with device:
        model = Qwen2_5_VLForConditionalGeneration(config)
    return model.eval()


def cast_parameters(module: Any, dtype: torch.dtype) -> None:
    """Change the number format of parameters, one after another; rotary frequencies keep theirs, as
    in a model that was loaded.

    Args:
        module: A model or a part of one.
        dtype: The number format.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)


def draw_prompts(shape: Shape, *, seed: int = 0) -> list[EncodedPrompt]:
    """Draw the step's prompts: some words, the images, more words.

    Args:
        shape: Their sizes.
        seed: Decides words and pixels.

    Returns:
        One prompt for each entry of `shape.images_P`, on the CPU.
    """
    draw = random.Random(f"prompts/{seed}")
    generator = torch.Generator().manual_seed(seed)
    width = _COLORS * _FRAMES * int(shape.vision["patch_size"]) ** 2
    prompts, taken = [], 0
    for number, images in enumerate(shape.images_P):
        grids = [shape.grids[(taken + k) % len(shape.grids)] for k in range(images)]
        taken += images
        words = draw.choices(
            range(shape.words), k=shape.text_tokens[number % len(shape.text_tokens)]
        )
        marked = [
            token
            for rows, columns in grids
            for token in (
                shape.vocabulary - 5,
                *[shape.image_token] * (rows * columns // _MERGE**2),
                shape.vocabulary - 4,
            )
        ]
        ids = torch.tensor([*words[:_TEXT_BEFORE_IMAGES], *marked, *words[_TEXT_BEFORE_IMAGES:]])
        patches = sum(rows * columns for rows, columns in grids)
        prompts.append(
            EncodedPrompt(
                study_id=f"drawn-{number}",
                input_ids_T=ids,
                is_image_token_T=ids == shape.image_token,
                pixel_values=torch.randn(patches, width, generator=generator) if grids else None,
                image_grid_thw=torch.tensor([[1, *grid] for grid in grids]) if grids else None,
            )
        )
    return prompts


def sampling_settings(shape: Shape, *, max_tokens: int | None = None) -> SamplingSettings:
    """Return how answers are drawn, of at most so many tokens."""
    return SamplingSettings(
        max_tokens=shape.max_tokens if max_tokens is None else max_tokens,
        eos_token_ids=(shape.end_token,),
        pad_token_id=0,
        forbidden_token_ids=tuple(range(shape.words, shape.end_token)),
    )


def draw_lengths(shape: Shape, *, seed: int = 0) -> list[list[int]]:
    """Return for each prompt the lengths of its sampled answers, from the shape's list."""
    draw = random.Random(f"lengths/{seed}")
    return [draw.choices(shape.answer_tokens, k=shape.samples) for _ in shape.images_P]


def ending_draws(lengths_PK: Sequence[Sequence[int]], max_tokens: int, *, seed: int = 0) -> Tensor:
    """Draw the numbers of sampling so that each row ends at its length.

    The end token is the last of the vocabulary, so a draw just below 1 gives it. The other draws
    stay below 0.99, so that they give it only to a model that finds it likelier than 1 %.

    Args:
        lengths_PK: Length of each row.
        max_tokens: The longest.
        seed: Decides the other draws.

    Returns:
        (P, K, max_tokens) float64 in [0, 1).
    """
    generator = torch.Generator().manual_seed(seed)
    rows = (len(lengths_PK), len(lengths_PK[0]), max_tokens)
    draws_PK_T = 0.99 * torch.rand(rows, dtype=torch.float64, generator=generator)
    last_PK1 = torch.tensor(lengths_PK)[:, :, None] - 1
    return draws_PK_T.scatter(2, last_PK1, _ALMOST_ONE)


def with_edits(
    shape: Shape, sampled_PK: Sequence[Sequence[Sequence[int]]], *, seed: int = 0
) -> list[list[list[int]]]:
    """Put beside each sampled answer a version of which one span is replaced, as an edit does.

    Args:
        shape: For the vocabulary and the longest answer.
        sampled_PK: For each prompt its K sampled answers, two tokens or more each.
        seed: Decides the spans.

    Returns:
        For each prompt 2K answers, the sampled ones first.
    """
    draw = random.Random(f"edits/{seed}")

    def edited(answer: Sequence[int]) -> list[int]:
        words = len(answer) - 1
        span = draw.randint(1, max(1, words // 4))
        start = draw.randint(0, words - span)
        room = shape.max_tokens - (len(answer) - span)
        new = draw.choices(range(shape.words), k=min(room, draw.randint(1, max(1, words // 4))))
        return [*answer[:start], *new, *answer[start + span :]]

    return [
        [*map(list, answers), *(edited(answer) for answer in answers)] for answers in sampled_PK
    ]


def draw_advantages(shape: Shape, device: torch.device, *, seed: int = 0) -> Tensor:
    """Draw (P, G) float32 advantages whose sum is zero in each group."""
    generator = torch.Generator().manual_seed(seed)
    rewards_PG = torch.rand(len(shape.images_P), shape.group, generator=generator)
    return (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)).to(device)


def policy_loss(
    log_probs_BC: Tensor, reference_BC: Tensor, advantages_B: Tensor, *, scale: float
) -> Tensor:
    """Compute the clipped objective with the k3 divergence at its first update, where the ratio is
    1: nothing is clipped.

    Args:
        log_probs_BC: (B, C) float32 under the policy, 0 at padding.
        reference_BC: (B, C) under the reference, 0 at padding.
        advantages_B: (B,).
        scale: The sum over tokens is multiplied by it.

    Returns:
        () float32.
    """
    ratio_BC = (log_probs_BC - log_probs_BC.detach()).exp()
    apart_BC = reference_BC - log_probs_BC
    divergence_BC = apart_BC.exp() - apart_BC - 1
    return scale * (0.01 * divergence_BC - ratio_BC * advantages_B[:, None]).sum()


def build_scorers(shape: Shape, device: torch.device) -> dict[str, Any]:
    """Build encoders of the size of the paper's reward models, with random weights.

    Args:
        shape: For their layers and width.
        device: Where they are.

    Returns:
        CheXbert and RadGraph-XL (BERT), RaTE-NER (DeBERTa) and BioLORD (MPNet), float32.
    """
    from transformers import (
        BertConfig,
        BertModel,
        DebertaV2Config,
        DebertaV2Model,
        MPNetConfig,
        MPNetModel,
    )

    sizes = {
        "num_hidden_layers": shape.scorer["layers"],
        "hidden_size": shape.scorer["width"],
        "intermediate_size": 4 * shape.scorer["width"],
    }
    bert = BertConfig(**sizes)
    deberta = DebertaV2Config(
        **sizes,
        vocab_size=128_100,
        max_position_embeddings=512,
        position_buckets=256,
        relative_attention=True,
        max_relative_positions=-1,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
    )
    mpnet = MPNetConfig(**sizes, vocab_size=30_527, max_position_embeddings=514)
    with device:
        scorers = {
            "chexbert": BertModel(bert),
            "radgraph": BertModel(bert),
            "rate-ner": DebertaV2Model(deberta),
            "biolord": MPNetModel(mpnet),
        }
    return {name: scorer.eval() for name, scorer in scorers.items()}


# What each scorer reads of a report of some 130 tokens: texts, and tokens of each. RaTE-NER reads
# sentences; BioLORD the names of entities, about one in four words.
_READS = {"chexbert": (1, 140), "radgraph": (1, 140), "rate-ner": (7, 24), "biolord": (30, 8)}
_SCORER_TOKENS = 64 * 140  # of a batch
_SCORER_WORDS = 1000


@torch.inference_mode()
def score(scorers: dict[str, Any], reports: int) -> int:
    """Run the scorers' encoders over as many reports; what follows them on the CPU is left out.

    Args:
        scorers: From `build_scorers`.
        reports: How many.

    Returns:
        Tokens read.
    """
    read = 0
    for name, scorer in scorers.items():
        texts, length = _READS[name]
        ids = torch.randint(5, _SCORER_WORDS, (reports * texts, length), device=scorer.device)
        for batch in ids.split(max(1, _SCORER_TOKENS // length)):
            states = scorer(input_ids=batch, attention_mask=torch.ones_like(batch))
            states.last_hidden_state[:, 0].sum()
        read += ids.numel()
    return read
