"""What only reinforcement learning has, besides edits: groups and objective."""

from dataclasses import field
from enum import StrEnum
from typing import Annotated

from editgrpo.config.anneal import Anneal
from editgrpo.config.check import (
    BetweenZeroAndOne,
    Count,
    Limits,
    NotNegative,
    Positive,
    ReportTokens,
    ShareOfSteps,
    require,
    settings,
)


class LossType(StrEnum):
    """How token losses are aggregated; the names are TRL's."""

    DR_GRPO = "dr_grpo"
    GRPO = "grpo"


class AdvantageScale(StrEnum):
    """What centred rewards are divided by."""

    NONE = "none"
    GROUP = "group"


class Baseline(StrEnum):
    """Which mean reward a response is measured against (docs/objective-variants.md)."""

    GROUP = "group"
    """That of its whole group."""
    SAMPLED = "sampled"
    """That of the sampled responses of its group, for all of them."""
    HALVES = "halves"
    """That of the sampled responses for these, that of the others for the others."""


class Credit(StrEnum):
    """Which tokens an edited response teaches by (docs/objective-variants.md)."""

    RESPONSE = "response"
    """All of them, by its advantage."""
    SPAN = "span"
    """Those that the edit put in, by what it gained."""
    TAIL = "tail"
    """Those from the first that the edit put in to the end, by what it gained."""
    BOTH_SPANS = "both_spans"
    """Likewise, and those of the rollout in whose place they stand, by what they lost."""
    BOTH_SPANS_CLIPPED = "both_spans_clipped"
    """Likewise, and the rollout's only where the edit gained."""


class EditWeight(StrEnum):
    """What the gradient at a token that the policy did not write is multiplied by, at probability
    p."""

    NONE = "none"
    LUFFY = "luffy"
    """0.1 p / (p + 0.1)^2: the gradient of p / (p + 0.1)."""
    CHORD = "chord"
    """p (1 - p), held constant: CHORD's phi."""


class KLTerm(StrEnum):
    """How the k3 estimate of the KL enters the loss, at a token with probabilities pi and ref."""

    K3 = "k3"
    """A plain term, at most 10: its gradient is (1 - ref/pi) grad log pi."""
    K3_TIMES_RATIO = "k3_times_ratio"
    """Multiplied by the probability ratio and not clamped, TRL's default since 1.10.

    The value is k3's, the gradient log(pi/ref) grad log pi.
    """


class RolloutEngine(StrEnum):
    """What samples the responses."""

    NATIVE = "native"
    """The policy itself, in this process; needs nothing else, and a run repeats to the byte."""
    VLLM_COLOCATE = "vllm_colocate"
    """vLLM in the training processes, on their GPUs."""
    VLLM_SERVER = "vllm_server"
    """A vLLM server on other GPUs or nodes."""


@settings("rollout.vllm")
class VLLMConfig:
    """How vLLM is run and reached; read only if it samples (docs/vllm.md)."""

    importance_cap: Annotated[float, Limits(ge=1)] = 3.0
    """Largest importance weight of a sampled token, p_training / p_vLLM.

    Default of TRL.
    """

    gpu_memory_utilization: BetweenZeroAndOne = 0.3
    """Colocate: share of a GPU's memory for vLLM's weights and key/value cache.

    Default of TRL.
    """

    tensor_parallel_size: Count = 1
    """Colocate: GPUs for one copy of the model; it must divide the number of processes."""

    max_model_length: Count = 8192
    """Colocate: longest prompt and response together, in tokens."""

    server_url: str = "http://127.0.0.1:8000"
    """Server: its address."""

    server_timeout_s: NotNegative = 240.0
    """Server: seconds to wait for its start.

    Default of TRL.
    """

    group_port: Annotated[int, Limits(ge=1, le=65_535)] = 51_216
    """Server: port on the training node over which weights are sent.

    Default of TRL.
    """

    def __post_init__(self) -> None:
        require(
            self.server_url.startswith(("http://", "https://")),
            "rollout.vllm.server_url",
            self.server_url,
            "an address that begins with http:// or https://",
        )


@settings("rollout")
class RolloutConfig:
    """Groups and sampling."""

    group_size: Annotated[int, Limits(ge=2)] = 10
    """Responses in a group (G), edited ones included.

    Paper: 10.
    """

    temperature: Positive = 1.0
    """Sampling temperature.

    Paper: 1.0.
    """

    max_completion_tokens: ReportTokens = 256
    """Most tokens of a response, the end-of-sequence token included."""

    engine: RolloutEngine = RolloutEngine.NATIVE
    """What samples the responses: `native`, `vllm_colocate` or `vllm_server`.

    Paper: vLLM.
    """

    vllm: VLLMConfig = field(default_factory=VLLMConfig)
    """Settings of vLLM; used only if vLLM samples."""

    dynamic_sampling: bool = False
    """Drop the groups whose rewards are all equal, and draw further prompts in their place (DAPO).

    Paper: false.
    """

    max_draws: Count = 10
    """Most draws of prompts in a step, the first included; read only with `dynamic_sampling`."""

    compile: bool = False
    """Compile the decoding steps with `torch.compile`; used only with `rollout.engine: native`.

    The first step takes longer, each token less. Needs a C++ compiler on a CPU, Triton on a GPU,
    and whole copies of the model (no FSDP, no ZeRO-3).
    """


@settings("objective")
class ObjectiveConfig:
    """The policy-gradient objective."""

    loss: LossType = LossType.DR_GRPO
    """`dr_grpo` divides a response's token sum by a constant; `grpo` by the response's length.

    Paper: Dr. GRPO.
    """

    scale: AdvantageScale = AdvantageScale.NONE
    """`group` divides advantages by the group's standard deviation (the paper's "norm").

    Paper: `none`.
    """

    baseline: Baseline = Baseline.GROUP
    """Whose mean reward a response is measured against: `group`, `sampled` or `halves`.

    Paper: `group`.
    """

    credit: Credit = Credit.RESPONSE
    """Which tokens of an edited response are trained on: `response` (all), `span` (what the edit
    put in), `tail` (from there to the end), `both_spans` (what it put in, and what it took out of
    the rollout), `both_spans_clipped`.

    Paper: `response`.
    """

    edit_weight: EditWeight = EditWeight.NONE
    """How the tokens that an edit put in, or all of a reference in the group (`edit.level:
    report`), are weighted by their probability: `none`, `luffy` or `chord`.

    Paper: `none`.
    """

    likelihood: NotNegative = 0.0
    """Weight of a loss on the reference reports, added to the policy loss; at 1 a reference counts
    as much as its whole group would with advantages of 1.

    Paper: 0.
    """

    likelihood_anneal: Anneal = Anneal.NONE
    """`cosine`: `objective.likelihood` falls to 0 by half a cosine; `none`: it stays."""

    likelihood_until: ShareOfSteps = 0.5
    """Share of the run's steps after which `objective.likelihood` is 0; used only with
    `likelihood_anneal: cosine`."""

    likelihood_shaping: EditWeight = EditWeight.NONE
    """Shapes the tokens of that likelihood by their probability: `none`, `luffy`, or `chord`
    (CHORD's phi)."""

    beta: NotNegative = 0.01
    """Weight of the k3 KL to the frozen SFT policy; 0 needs no reference policy.

    Paper: 0.01.
    """

    kl: KLTerm = KLTerm.K3
    """`k3`: a plain loss term, at most 10 a token; `k3_times_ratio`: as TRL has it by default.

    Paper: `k3`.
    """

    epsilon: BetweenZeroAndOne = 0.2
    """Clip range of the probability ratio, below 1 and above.

    Paper: 0.2.
    """

    epsilon_high: float | None = None
    """Clip range above 1 ("clip-higher", DAPO); None takes `epsilon`. Both act where the ratio is
    not 1; with one update for each batch of samples, as here, it is 1.

    Paper: none of its own. DAPO: 0.28.
    """

    def __post_init__(self) -> None:
        high = self.epsilon_high
        require(
            high is None or self.epsilon <= high,
            "objective.epsilon_high",
            high,
            f"objective.epsilon ({self.epsilon}) or more, or null",
        )
