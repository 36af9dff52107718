"""What this package asks of a model: the members of a policy, its parts and its tokenizer that it
uses, and no others.

transformers' classes of every family have them, so that a type checker sees a slip, and a reader
what another family must bring. A model that may be inside a wrapper (PEFT, DDP, FSDP, DeepSpeed) is
a `WrappedPolicy` until `without_adapter_wrapper` has taken it out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from editgrpo.edits.codec import FastTokenizer


class TowerOutput(Protocol):
    """What a vision tower returns."""

    @property
    def pooler_output(self) -> Tensor:
        """(N, D), what goes to the language model."""


class TextOutput(Protocol):
    """What the text layers return."""

    @property
    def last_hidden_state(self) -> Tensor:
        """(B, L, D)."""


class VisionTower(Protocol):
    """Turns patches of images into features."""

    config: Any

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """Number format of its weights."""

    def __call__(self, hidden_states: Tensor, /, *, grid_thw: Tensor) -> TowerOutput:
        """Encode patches."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights."""

    def state_dict(self) -> dict[str, Tensor]:
        """Its weights and buffers, by name."""

    def to(self, device: torch.device | str, /) -> "VisionTower":
        """Move its weights."""


class TextLayers(Protocol):
    """The stack of text layers with embedding and last norm, without the head."""

    config: Any

    def __call__(
        self,
        *,
        inputs_embeds: Tensor,
        position_ids: Tensor,
        use_cache: bool,
        **more: Any,
    ) -> TextOutput:
        """Compute hidden states."""

    def set_attn_implementation(self, name: str, /) -> None:
        """Choose the function that computes attention."""


class Backbone(Protocol):
    """A vision-language model without its head. What it has besides is known to its family."""

    forward: Callable[..., Any]


class Policy(Protocol):
    """A model that writes reports, out of its wrappers."""

    forward: Callable[..., Any]
    config: Any
    generation_config: Any
    training: bool

    @property
    def model(self) -> Backbone:
        """The model without its head."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    def __call__(self, **keywords: Any) -> Any:
        """Run its forward."""

    def disable_input_require_grads(self) -> None:
        """Take back the hook that gradient checkpointing has added to the embedding."""

    def eval(self) -> "Policy":
        """Go to evaluation mode."""

    def generate(self, **keywords: Tensor) -> Any:
        """Write, by transformers' own loop."""

    def get_decoder(self) -> TextLayers:
        """The stack of text layers."""

    def get_encoder(self, modality: str, /) -> Any:
        """The encoder of a modality, or the model itself where it has none."""

    def get_input_embeddings(self) -> nn.Embedding:
        """The layer that turns token ids into vectors."""

    def get_output_embeddings(self) -> nn.Linear:
        """The head, from hidden states to logits."""

    def load_state_dict(self, state_dict: Mapping[str, Tensor], /) -> object:
        """Put weights in."""

    def modules(self) -> Iterator[nn.Module]:
        """Its layers."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Its layers, by name."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights."""

    def to(self, device: torch.device | str, /) -> "Policy":
        """Move its weights."""

    def train(self, mode: bool = True, /) -> "Policy":
        """Go to training mode, or to evaluation mode."""


WrappedPolicy = nn.Module | Policy
"""A policy, or what wraps one: its own members are out of reach, its hooks are at work."""


class Tokenizer(FastTokenizer, Protocol):
    """A fast tokenizer of transformers."""

    chat_template: Any
    eos_token: Any
    eos_token_id: int
    pad_token_id: int | None
    unk_token_id: int | None
    backend_tokenizer: Any

    @property
    def special_tokens_map(self) -> Mapping[str, object]:
        """Special tokens, by role."""

    def __call__(self, text: str, /, **keywords: Any) -> Mapping[str, Any]:
        """Encode a text."""

    def __len__(self) -> int:
        """How many tokens it has, added ones included."""

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], /, **keywords: Any) -> str:
        """Write messages as the model reads them."""

    def convert_tokens_to_ids(self, token: str, /) -> int:
        """Return the id of a token."""

    def decode(self, token_ids: Sequence[int], /, *, skip_special_tokens: bool = False) -> str:
        """Return what tokens say."""

    def save_pretrained(self, folder: Path | str, /) -> object:
        """Write its files."""
