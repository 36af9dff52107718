"""Sampling K responses for each prompt: the prompt is computed once, its keys and values are shared
by the K rows.

Sampling is by inversion: one uniform number a token, drawn beforehand for each row (seeds.py),
turned into a token by the cumulative distribution. A row's draws depend on nothing but its own
coordinates.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from editgrpo.training.packed.packing import expected_features, plan_passes
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.model import WrappedPolicy
from editgrpo.training.policy.positions import prompt_positions, without_adapter_wrapper
from editgrpo.training.policy.processor import EncodedPrompt, check_image_tokens
from editgrpo.training.sampling.decoding import Decode, Pass, Prefill, passes_through
from editgrpo.training.sampling.draw import draw
from editgrpo.training.sampling.key_values import SharedKeyValues
from editgrpo.training.sampling.plain import sample_plainly
from editgrpo.training.sampling.sampler import Listener

# Room for new tokens is made so many at a time: a row's columns are read whether filled or not, and
# each change of their number copies all keys and values once.
_BLOCK = 64


@torch.no_grad()
def sample_responses(
    model: WrappedPolicy,
    prompts: Sequence[EncodedPrompt],
    uniforms_PK_T: Tensor,
    settings: SamplingSettings,
    *,
    features: Sequence[Tensor | None] | None = None,
    tokens_per_pass: int = 16_384,
    compiled: bool = False,
    listener: Listener | None = None,
) -> list[list[list[int]]]:
    """Sample K responses for each of P prompts.

    Args:
        model: The policy in evaluation mode: a transformers model, alone or as `passes_through`
            takes it.
        prompts: P prompts.
        uniforms_PK_T: (P, K, max_tokens) float64 in [0, 1), one draw a token; only its shape counts
            at temperature 0.
        settings: How to draw.
        features: For each prompt the (N, D) features of its images, None for one without; None to
            compute them here.
        tokens_per_pass: Most prompt tokens that are computed at once; a longer prompt is computed
            alone.
        compiled: Whether `torch.compile` makes kernels of a decoding step (see `Decode`): the first
            call of a process takes a minute longer, each token less.
        listener: Told each token as it is drawn.

    Returns:
        For each prompt K lists of token ids. A list ends with its end-of-sequence token unless it
        reached max_tokens.

    Raises:
        DataError: a prompt's image tokens do not match its images or features (the message names
            the study).
        TrainingError: decoding steps cannot be compiled here.
    """
    base = without_adapter_wrapper(model)
    if any(prompt.is_plain for prompt in prompts):
        return sample_plainly(base, prompts, uniforms_PK_T, settings, listener=listener)
    for prompt in prompts:
        check_image_tokens(prompt, expected_features(base, prompt))
    lengths = [prompt.input_ids_T.shape[0] for prompt in prompts]
    kept = SharedKeyValues(lengths, uniforms_PK_T.shape[1], base.device)
    # Behind a prompt positions count on from its largest.
    next_position_P = [int(prompt_positions(base, prompt).max()) + 1 for prompt in prompts]
    known = {} if features is None else {k: x for k, x in enumerate(features) if x is not None}
    with passes_through(model) as run:
        logits: dict[int, Tensor] = {}
        for numbers in plan_passes(lengths, tokens_per_pass):
            one = Prefill(kept, {number: prompts[number] for number in numbers}, known)
            logits.update(zip(numbers, run(one), strict=True))
        next_P = torch.tensor(next_position_P)
        grid = _Grid(kept, uniforms_PK_T, next_P, settings, compiled=compiled, listener=listener)
        return grid.sample(run, torch.stack([logits[k] for k in range(len(prompts))]))


class _Grid:
    """P prompts by K rows that are sampled together.

    A row that has ended keeps its place, and what is computed for it is thrown away, until the
    running rows fit a grid of half the size: shapes change a few times, not at every ending.
    """

    def __init__(
        self,
        kept: SharedKeyValues,
        uniforms_PK_T: Tensor,
        next_position_P: Tensor,
        settings: SamplingSettings,
        *,
        compiled: bool,
        listener: Listener | None,
    ) -> None:
        device = kept.device
        self._kept, self._settings, self._compiled = kept, settings, compiled
        self._listener = listener
        self._uniforms_PK_T = uniforms_PK_T.to(device)
        self._next_position_P = next_position_P.to(device)
        prompts, rows = kept.shape
        # On the CPU: which response each place of the grid writes, and whether it still does.
        self._row_PK = torch.arange(prompts * rows).reshape(prompts, rows)
        self._is_running_PK = torch.ones(prompts, rows, dtype=torch.bool)
        self._responses: list[list[int]] = [[] for _ in range(prompts * rows)]

    def sample(self, run: Callable[[Pass], Tensor], logits_PV: Tensor) -> list[list[list[int]]]:
        """Draw all rows to their end, given the logits of each prompt's first token."""
        prompts, rows = self._kept.shape
        logits = logits_PV  # the rows of a prompt draw from one distribution first
        for step in range(self._settings.max_tokens):
            draws = self._uniforms_PK_T[:, :, step].reshape(logits.shape[0], -1)
            tokens_PK = draw(logits, draws, self._settings).reshape(self._kept.shape)
            self._record(tokens_PK)
            if step + 1 == self._settings.max_tokens or not bool(self._is_running_PK.any()):
                break
            tokens_PK = self._shrink(tokens_PK)
            if step == self._kept.row_columns:
                self._kept.extend(min(_BLOCK, self._settings.max_tokens - 1 - step))
            positions_PK = (self._next_position_P[:, None] + step).expand(tokens_PK.shape)
            logits = run(Decode(self._kept, tokens_PK, positions_PK, compiled=self._compiled))
            self._kept.advance()
        return [self._responses[k * rows : (k + 1) * rows] for k in range(prompts)]

    def _record(self, tokens_PK: Tensor) -> None:
        tokens = tokens_PK.cpu()
        running = self._is_running_PK
        for row, token in zip(
            self._row_PK[running].tolist(), tokens[running].tolist(), strict=True
        ):
            self._responses[row].append(token)
            if self._listener is not None:
                self._listener(row, token)
        running &= ~torch.isin(tokens, torch.tensor(self._settings.eos_token_ids, dtype=torch.long))

    def _shrink(self, tokens_PK: Tensor) -> Tensor:
        """Return the tokens to go on with, of a smaller grid if half of this one is idle."""
        device = tokens_PK.device
        tokens_PK = tokens_PK.where(self._is_running_PK.to(device), self._settings.pad_token_id)
        running_P = self._is_running_PK.sum(dim=1)
        prompt_P, rows = running_P.nonzero()[:, 0], int(running_P.max())
        if 2 * prompt_P.shape[0] * rows > self._row_PK.numel():
            return tokens_PK
        # Running rows first, in their order; idle ones fill up.
        order_PK = self._is_running_PK[prompt_P].int().argsort(dim=1, descending=True, stable=True)
        where_PK = (prompt_P[:, None], order_PK[:, :rows])
        self._row_PK, self._is_running_PK = self._row_PK[where_PK], self._is_running_PK[where_PK]
        where_PK = (where_PK[0].to(device), where_PK[1].to(device))
        self._kept.select(where_PK[0][:, 0], where_PK[1])
        self._uniforms_PK_T = self._uniforms_PK_T[where_PK]
        self._next_position_P = self._next_position_P[where_PK[0][:, 0]]
        return tokens_PK[where_PK]
