"""What must be in GPU memory at once, in bytes, from shapes alone."""

from dataclasses import dataclass

from benchmarks.account_model import ModelShape, TextShape
from benchmarks.account_step import BF16, FLOAT32, OURS, Workload, encodings

GIB = 2**30

# Logits that exist at a time (training/packed/group_pass.py) and how often: product, float32 and
# scaled, log-softmax, gradient.
LOGITS, LOGIT_COPIES = 2**25, 4
# CUDA's context and the workspaces of cuBLAS; seen on other machines, not measured here.
CONTEXT = 0.7 * GIB
# RaTE-NER, BioLORD, CheXbert and RadGraph-XL: encoders of base size with their embeddings, the
# first of a larger vocabulary; float32 (the default of `clinical.dtype`).
SCORERS = (184 + 3 * 110) * 10**6 * FLOAT32


@dataclass(frozen=True, kw_only=True, slots=True)
class StateOption:
    """How parameters, gradients and AdamW's moments are held."""

    name: str
    parameter: float
    gradient: float
    moments: float
    """Bytes a parameter, a master copy included."""
    has_autocast: bool
    """Whether autocast keeps bfloat16 copies, and layers hand on float32."""
    has_exact_embedding: bool = False
    """Whether the embedding's moments stay float32 beside smaller ones of the rest."""

    def bytes(self, text: TextShape) -> float:
        """Return the bytes of a trained language model."""
        each = self.parameter + self.gradient + self.moments
        more = 2 * FLOAT32 - self.moments if self.has_exact_embedding else 0
        return each * text.parameters + more * text.embedding


FLOAT32_STATES = StateOption(
    name="float32",
    parameter=FLOAT32,
    gradient=FLOAT32,
    moments=2 * FLOAT32,
    has_autocast=True,
)
# The bfloat16 parameter is the upper half of its float32 master; the optimizer keeps the rest.
MASTER = StateOption(
    name="master",
    parameter=BF16,
    gradient=BF16,
    moments=BF16 + 2 * FLOAT32,
    has_autocast=False,
)
# bitsandbytes: moments of one byte each and a float32 scale for every 256 of them; transformers
# leaves embeddings out.
EIGHT_BIT = StateOption(
    name="8bit",
    parameter=FLOAT32,
    gradient=FLOAT32,
    moments=2 * (1 + FLOAT32 / 256),
    has_autocast=True,
    has_exact_embedding=True,
)
STATE_OPTIONS = (FLOAT32_STATES, MASTER, EIGHT_BIT)


def store_bytes(text: TextShape, work: Workload, *, shared: bool) -> float:
    """Return the key/value store of the rollout in bfloat16.

    Args:
        text: The model.
        work: The step; all of its prompts are sampled together.
        shared: Whether a prompt's samples share its keys and values.

    Returns:
        Bytes, when every sample has its full length.
    """
    rows = work.prompts * work.sampled
    prompts = (work.prompts if shared else rows) * work.prompt
    return BF16 * text.key_value_width * (prompts + rows * work.longest)


def update_bytes(
    model: ModelShape, work: Workload, option: StateOption | None, *, tokens: int, rank: int = 16
) -> dict[str, float]:
    """Return the parts of the peak, which is in the update.

    Args:
        model: The policy; its vision tower is frozen, in bfloat16.
        work: The step.
        option: How states are held in full training; None for LoRA.
        tokens: Columns of a pass.
        rank: Of LoRA's adapters.

    Returns:
        Bytes by part.
    """
    text, weights = model.text, float(model.text.parameters)
    if option is None:
        adapters = 4 * FLOAT32 * lora_parameters(text, rank)  # with gradients and two moments
        states = BF16 * weights + adapters
    else:
        states = option.bytes(text)
    has_autocast = option is not None and option.has_autocast
    # Copies live until the forward pass ends, a recomputed layer after that.
    copies = BF16 * weights if has_autocast else 0
    return {
        "parameters, gradients, moments": states,
        "vision tower": BF16 * model.vision.parameters,
        "reference policy": BF16 * model.parameters if option is not None else 0,
        "layer inputs": tokens * text.layers * text.hidden * (FLOAT32 if has_autocast else BF16),
        "a layer recomputed, or autocast's copies": max(copies, recomputed_bytes(text, tokens)),
        "logits": LOGIT_COPIES * LOGITS * FLOAT32,
        "features of the step": features_bytes(model, work),
        "scorers": SCORERS,
        "context": CONTEXT,
    }


def recomputed_bytes(text: TextShape, tokens: int) -> float:
    """Return one layer's activations and gradients while its backward pass runs."""
    # Gate, up, activation and product, with gradients of three of them.
    mlp = (4 + 3) * BF16 * text.intermediate
    # Queries, output, residuals and rotated copies in bfloat16; norms in float32.
    rest = (8 * BF16 + 4 * FLOAT32) * text.hidden
    return tokens * float(mlp + rest)


def lora_parameters(text: TextShape, rank: int) -> int:
    """Return the parameters of adapters on queries, keys, values and outputs."""
    heads, keys = text.heads * text.head_width, text.key_heads * text.head_width
    width = 2 * (text.hidden + heads) + 2 * (text.hidden + keys)
    return text.layers * rank * width


def image_feature_bytes(model: ModelShape, patches: int) -> int:
    """Return the features of one image in bfloat16."""
    return BF16 * model.vision.out * (patches // model.vision.merge**2)


def features_bytes(model: ModelShape, work: Workload) -> float:
    """Return the features of a step's images."""
    return encodings(work, OURS) * image_feature_bytes(model, work.patches)
