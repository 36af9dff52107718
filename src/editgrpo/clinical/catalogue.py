"""The clinical models: which repositories of the Hub they come from, at which commits, which files
are taken, and what a complete folder holds.

Data only. Every commit and hash stands in public code that records it (docs/models.md says where a
second source agrees); none is a guess. Only the files named here are ever taken from a repository:
no code, and pickled weights only where there are no safetensors.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

COMMIT = re.compile(r"[0-9a-f]{40}")


class ClinicalModel(StrEnum):
    """A model that annotates, labels or scores reports; the value is the name of its folder."""

    RATE_NER = "rate-ner"
    BIOLORD = "biolord"
    CHEXBERT = "chexbert"
    RADGRAPH_XL = "radgraph-xl"
    RADGRAPH = "radgraph"
    DISTILROBERTA = "distilroberta-base"
    DISTILBERT = "distilbert-base-uncased"
    GREEN = "green"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Files of one repository of the Hub that go into a model folder."""

    repository: str
    """Hub id, `organisation/name`."""

    revision: str | None
    """Commit (40 hexadecimal digits), branch or tag; None takes the commit at which the branch
    `main` stands when it is first fetched."""

    patterns: tuple[str, ...]
    """Names that are taken, with `*`; only from the top of the repository."""

    folder: str = ""
    """Where they go below the model folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Files that a complete model folder holds: all those of one of the alternatives."""

    alternatives: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Everything known of one model before it is fetched."""

    purpose: str
    """What it is for, in a few words."""

    parts: tuple[Part, ...]
    """Where it comes from; another source (`clinical.sources`) replaces the first."""

    needs: tuple[Need, ...]
    """What a complete folder holds."""

    sha256: dict[str, str] = field(default_factory=dict)
    """Hashes that the pinned files must have, by path in the model folder."""

    archive: str | None = None
    """An AllenNLP archive whose configuration names the encoder that `encoder/` describes."""

    unpacked: tuple[str, ...] = ()
    """Patterns of the files that may stand in the archive's place."""

    def patterns(self) -> tuple[str, ...]:
        """Return the patterns of all files that belong to the model, by path in its folder."""
        taken = [_join(part.folder, name) for part in self.parts for name in part.patterns]
        if self.archive is not None:
            taken += [_join(ENCODER_FOLDER, name) for name in CONFIG_AND_TOKENIZER]
        return (*taken, *self.unpacked)


CONFIG_AND_TOKENIZER = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spm.model",
    "tokenizer.model",
)
_SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
_WHOLE_MODEL = (*CONFIG_AND_TOKENIZER, "generation_config.json", *_SAFETENSORS, *_PICKLED)

ENCODER_FOLDER = "encoder"

# Commits of the encoders that the RadGraph archives name; another name is taken at `main`.
ENCODER_REVISIONS = {
    "microsoft/BiomedVLP-CXR-BERT-general": "6172dbfa7c061d635a4b86761b80e324e1995496",
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext": (
        "e1354b7a3a09615f6aba48dfad4b7a613eef7062"
    ),
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext": (
        "e1354b7a3a09615f6aba48dfad4b7a613eef7062"
    ),
}

_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "tokenizer.model")
_SCORERS = "StanfordAIMI/RRG_scorers"
_SCORERS_REVISION = "6646433b3ad83a10f6e141db76d0ece44312b236"


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _config_and_tokenizer_needs(folder: str = "") -> tuple[Need, ...]:
    vocabularies = tuple((_join(folder, name),) for name in _VOCABULARIES)
    return (
        Need(alternatives=((_join(folder, "config.json"),),)),
        Need(alternatives=vocabularies),
    )


def _whole_model(
    purpose: str, repository: str, revision: str, sha256: dict[str, str] | None = None
) -> Entry:
    weights = (_SAFETENSORS[0], _SAFETENSORS[2], _PICKLED[0], _PICKLED[2])
    return Entry(
        purpose=purpose,
        parts=(Part(repository=repository, revision=revision, patterns=_WHOLE_MODEL),),
        needs=(
            *_config_and_tokenizer_needs(),
            Need(alternatives=tuple((name,) for name in weights)),
        ),
        sha256=sha256 or {},
    )


def _radgraph(purpose: str, archive: str, revision: str, sha256: dict[str, str]) -> Entry:
    return Entry(
        purpose=purpose,
        parts=(Part(repository=_SCORERS, revision=revision, patterns=(archive,)),),
        needs=(
            Need(alternatives=((archive,), ("config.json", "weights.th", "vocabulary"))),
            *_config_and_tokenizer_needs(ENCODER_FOLDER),
        ),
        sha256=sha256,
        archive=archive,
        unpacked=("config.json", "weights.th", "vocabulary/*.txt"),
    )


CATALOGUE: dict[ClinicalModel, Entry] = {
    ClinicalModel.RATE_NER: _whole_model(
        "annotator rate, RaTEScore: entities",
        "Angelakeke/RaTE-NER-Deberta",
        "66d4b8189374f9b137e1b8633951ca4b4d758673",
        {"model.safetensors": "b380aae68a26fc608cbb568994006910d0fc7156c63fd05308b3bbaf77ed53f2"},
    ),
    ClinicalModel.BIOLORD: _whole_model(
        "annotator rate, RaTEScore: embeddings",
        "FremyCompany/BioLORD-2023-C",
        "4bb5abd13930002136e3a5750b84474763c775c5",
        {"model.safetensors": "6164f3a7476eaaeee4b7fa2d4dea655f8ca1927853b867d59fb9d66507f5d36f"},
    ),
    ClinicalModel.CHEXBERT: Entry(
        purpose="labeler chexbert, CheXbert F1, SembScore",
        parts=(
            Part(repository=_SCORERS, revision=_SCORERS_REVISION, patterns=("chexbert.pth",)),
            Part(
                repository="google-bert/bert-base-uncased",
                revision="86b5e0934494bd15c9632b12f734a8a67f723594",
                patterns=CONFIG_AND_TOKENIZER,
                folder="tokenizer",
            ),
        ),
        needs=(
            Need(alternatives=(("chexbert.pth",),)),
            *_config_and_tokenizer_needs("tokenizer"),
        ),
        sha256={"chexbert.pth": "6550703c92d640e1e04d8105a7a185d76ece0f25fcbf033d292785bf22c0fde1"},
    ),
    ClinicalModel.RADGRAPH_XL: _radgraph(
        "annotator radgraph, RadGraph-F1",
        "radgraph-xl.tar.gz",
        _SCORERS_REVISION,
        {"radgraph-xl.tar.gz": "fadb5a3454e8996714b609e3105a07e447fa61aa88fffe966b650959475117b6"},
    ),
    ClinicalModel.RADGRAPH: _radgraph(
        "RadGraph-F1 of ReXrank and RadCliQ-v1",
        "radgraph.tar.gz",
        # The commit that public code names for this file; older than the one of the others.
        "d97745aa136e5beb927da7e768e99de6ae807902",
        {},
    ),
    ClinicalModel.DISTILROBERTA: _whole_model(
        "BERTScore of RadCliQ-v1",
        "distilbert/distilroberta-base",
        "fb53ab8802853c8e4fbdbcd0529f21fc6f459b2b",
    ),
    ClinicalModel.DISTILBERT: _whole_model(
        "BERTScore",
        "distilbert/distilbert-base-uncased",
        "12040accade4e8a0f71eabdb258fecc2e7e948be",
    ),
    ClinicalModel.GREEN: _whole_model(
        "GREEN, the judge (7B)",
        "StanfordAIMI/GREEN-radllama2-7b",
        "832389d56bbd45a36bbd61dfa4f0be76e99f1dad",
    ),
}

# What can be asked for by use instead of by name.
USES: dict[str, tuple[ClinicalModel, ...]] = {
    "paper": (
        ClinicalModel.RATE_NER,
        ClinicalModel.BIOLORD,
        ClinicalModel.CHEXBERT,
        ClinicalModel.RADGRAPH_XL,
    ),
    "paper-7": (
        ClinicalModel.RATE_NER,
        ClinicalModel.BIOLORD,
        ClinicalModel.CHEXBERT,
        ClinicalModel.RADGRAPH_XL,
        ClinicalModel.GREEN,
    ),
    "radcliq-v1": (
        ClinicalModel.CHEXBERT,
        ClinicalModel.RADGRAPH,
        ClinicalModel.DISTILROBERTA,
    ),
    "rexrank": (
        ClinicalModel.CHEXBERT,
        ClinicalModel.RADGRAPH,
        ClinicalModel.DISTILROBERTA,
        ClinicalModel.RATE_NER,
        ClinicalModel.BIOLORD,
        ClinicalModel.GREEN,
    ),
}


def matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Choose the files that patterns name; pickled weights only if no safetensors are among them.

    Args:
        names: Paths with `/`, relative to a repository or to a model folder.
        patterns: Names with `*`, which stands for anything but `/`.

    Returns:
        The chosen names, sorted.
    """
    wanted = tuple(patterns)
    chosen = {name for name in names if any(_matches(name, pattern) for pattern in wanted)}
    if any(name.endswith(".safetensors") for name in chosen):
        chosen = {name for name in chosen if not any(_matches(name, old) for old in _PICKLED)}
    return sorted(chosen)


def _matches(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)
