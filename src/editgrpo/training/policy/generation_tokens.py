"""Which tokens end a response, fill up and are never drawn, and how responses are drawn."""

from dataclasses import dataclass

from editgrpo.data.prepared.record import shown
from editgrpo.errors import ModelError
from editgrpo.model_files import GENERATION_CONFIG
from editgrpo.training.policy.families import family_of
from editgrpo.training.policy.model import Policy, Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSettings:
    """How responses are drawn."""

    max_tokens: int
    """Longest response, its end-of-sequence token included."""
    eos_token_ids: tuple[int, ...]
    """Tokens that end a response."""
    pad_token_id: int
    """Fed to rows that have ended and wait for the others."""
    temperature: float = 1.0
    """Logits are divided by it; 0 takes the likeliest token."""
    forbidden_token_ids: tuple[int, ...] = ()
    """Never drawn: a sampled image token would stand for an image that is not there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationTokens:
    """Token ids that sampling has to know."""

    eos_token_id: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    forbidden_token_ids: tuple[int, ...]

    def sampling(self, *, max_tokens: int, temperature: float) -> SamplingSettings:
        """Return how to draw responses with these tokens."""
        return SamplingSettings(
            max_tokens=max_tokens,
            eos_token_ids=self.eos_token_ids,
            pad_token_id=self.pad_token_id,
            temperature=temperature,
            forbidden_token_ids=self.forbidden_token_ids,
        )


def padding_token(tokenizer: Tokenizer) -> int:
    """Return the id that fills rows up: that of an end where a tokenizer names none."""
    pad = tokenizer.pad_token_id
    return tokenizer.eos_token_id if pad is None else pad


def generation_tokens(model: Policy, tokenizer: Tokenizer) -> GenerationTokens:
    """Collect end, padding and never-sampled tokens of a model and its tokenizer.

    Args:
        model: Its generation configuration may name further end tokens.
        tokenizer: Of the same folder.

    Returns:
        Their ids.

    Raises:
        ModelError: what is named as an end token is none.
    """
    named = model.generation_config.eos_token_id
    declared = named if isinstance(named, list) else [] if named is None else [named]
    if not all(type(token) is int and token >= 0 for token in declared):
        raise ModelError(
            f"{GENERATION_CONFIG}: eos_token_id is {shown(named)}; it must be the id of a token, "
            "or a list of them"
        )
    eos = tuple(dict.fromkeys([tokenizer.eos_token_id, *declared]))
    forbidden = family_of(model).forbidden_tokens(model.config, tokenizer, eos)
    return GenerationTokens(
        eos_token_id=tokenizer.eos_token_id,
        eos_token_ids=eos,
        pad_token_id=padding_token(tokenizer),
        forbidden_token_ids=tuple(token for token in forbidden if token is not None),
    )
