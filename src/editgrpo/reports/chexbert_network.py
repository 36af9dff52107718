"""CheXbert's network, and the strict loading of its checkpoint."""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from editgrpo.clinical.checkpoint import load_checkpoint
from editgrpo.errors import ModelError
from editgrpo.reports.chexpert import FINDINGS

_HEAD_CLASSES = (*[4] * (len(FINDINGS) - 1), 2)  # No Finding has two: blank, positive
_IGNORED_NAMES = frozenset({"bert.embeddings.position_ids"})
"""What older versions of transformers saved as a weight though it only counts 0, 1, 2, ..."""

_REMEDY = "get the original with `editgrpo models fetch chexbert`"


class CheXbertNetwork(nn.Module):
    """BERT and 14 linear heads, with the checkpoint's names of weights.

    Built with random weights.

    Args:
        bert_config: Dimensions of BERT.
    """

    def __init__(self, bert_config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(bert_config)
        self.linear_heads = nn.ModuleList(
            nn.Linear(bert_config.hidden_size, classes) for classes in _HEAD_CLASSES
        )

    def forward(self, token_ids_BT: Tensor, is_token_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Classify reports.

        Args:
            token_ids_BT: (B, T) int64.
            is_token_BT: (B, T) int64, 1 for tokens, 0 for padding.

        Returns:
            (B, 14) int64 classes and (B, D) last hidden states at [CLS].
        """
        states_BTD = self.bert(token_ids_BT, attention_mask=is_token_BT).last_hidden_state
        embedding_BD = states_BTD[:, 0]
        classes = [head(embedding_BD).argmax(dim=1) for head in self.linear_heads]
        return torch.stack(classes, dim=1), embedding_BD


def load_network(bert_config: BertConfig, path: Path) -> CheXbertNetwork:
    """Build a network and fill it with the weights of a checkpoint.

    Args:
        bert_config: Dimensions of BERT, as some file claims them.
        path: What CheXbert's training saved: `{"model_state_dict": {name: weight}}`, the names with
            the prefix `module.` of DataParallel.

    Returns:
        The network.

    Raises:
        ModelError: the file cannot be read without running code, or a weight is missing, unknown or
            of another shape. Memory is taken only for weights that are there.
    """
    weights = _read_weights(path)
    with torch.device("meta"):
        claimed = CheXbertNetwork(bert_config)
    _check(weights, claimed, path)
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
        network = CheXbertNetwork(bert_config)
    network.load_state_dict(weights)
    return network


def _check(weights: dict[str, Tensor], network: CheXbertNetwork, path: Path) -> None:
    expected = network.state_dict()
    for what, names in (
        ("lacks", sorted(expected.keys() - weights.keys())),
        ("has the unknown weight", sorted(weights.keys() - expected.keys())),
        (
            "has another shape of",
            [name for name in weights if name in expected and not _fits(weights, expected, name)],
        ),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelError(
                f"{path}: {what} {names[0]!r}{more}; it is no CheXbert of these "
                f"dimensions; {_REMEDY}"
            )


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Return a checkpoint's weights by name, without the prefix of DataParallel and without those
    that are none."""
    saved = load_checkpoint(path, path, _REMEDY, fault="no checkpoint that holds weights only")
    weights = saved.get("model_state_dict") if isinstance(saved, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise ModelError(f"{path}: holds no 'model_state_dict'; {_REMEDY}")
    named = {name.removeprefix("module."): weight for name, weight in weights.items()}
    return {name: weight for name, weight in named.items() if name not in _IGNORED_NAMES}


def _fits(weights: dict[str, Tensor], expected: dict[str, Tensor], name: str) -> bool:
    return isinstance(weights[name], Tensor) and weights[name].shape == expected[name].shape
