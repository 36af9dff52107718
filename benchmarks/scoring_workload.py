"""What `scoring.py` scores and with what: reports, and random checkpoints in the true formats.

Speed depends on the shape of weights and not on their values, with one exception that is seen to:
how many entities and relations a model finds. So the classifiers are shifted until there are as
many as the published models find in such reports.
"""

import csv
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.checkpoints import Size
from tests.checkpoints.chexbert import build_chexbert
from tests.checkpoints.radgraph import build_radgraph
from tests.checkpoints.rate import build_biolord, build_rate_ner
from torch.nn.functional import one_hot
from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer

REFERENCES = 32
ROLLOUTS = 5  # of each reference; each has an edited version beside it
WARM_UP = 8

# Shares of RaTE-NER's tokens that begin an entity and that continue one: an entity for every six
# tokens, of two tokens, as the published model finds in chest X-ray reports.
BEGINS, CONTINUES = 0.15, 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """The texts of one run.

    Attributes:
        source: Where they come from, in words.
        references: The reference reports.
        rollouts: For each reference its rollouts: reports of other studies, none twice.
        warm_up: Further reports with their words in random order, so that no sentence of them is
            one of the others'.
    """

    source: str
    references: list[str]
    rollouts: list[list[str]]
    warm_up: list[str]

    @property
    def all_reports(self) -> list[str]:
        """References and rollouts."""
        return [*self.references, *(text for group in self.rollouts for text in group)]

    def describe(self) -> dict[str, object]:
        """Return what a reader must know of the texts to judge the times."""
        reports = self.all_reports
        sentences = [sentence for text in reports for sentence in split(text)]
        return {
            "reports": self.source,
            "references": len(self.references),
            "rollouts": sum(map(len, self.rollouts)),
            "pairs": 2 * sum(map(len, self.rollouts)),
            "words_per_report": round(sum(len(t.split()) for t in reports) / len(reports), 1),
            "sentences_per_report": round(len(sentences) / len(reports), 1),
            "distinct_sentences_share": round(len(set(sentences)) / len(sentences), 3),
        }


def load_workload(reports: Path, *, seed: int = 0, references: int = REFERENCES) -> Workload:
    """Draw references and rollouts.

    Args:
        reports: CSV file with a column `findings`, or a folder that holds `indiana_reports.csv`;
            if there is nothing, reports of phantom studies are written instead.
        seed: Which reports are drawn.
        references: How many references.

    Returns:
        The workload; every text is another, so nothing is known of a rollout before it is scored.
    """
    rng = random.Random(seed)
    path = reports / "indiana_reports.csv" if reports.is_dir() else reports
    needed = references * (1 + ROLLOUTS) + WARM_UP
    if path.is_file():
        source = f"real: findings of {path.name}"
        texts = read_findings(path)
    else:
        source = f"synthetic: phantom studies, since {path.name} is not at hand"
        texts = _distinct_phantom_findings(needed, seed)
    drawn = rng.sample(texts, needed)
    rollouts = drawn[references : references * (1 + ROLLOUTS)]
    return Workload(
        source=source,
        references=drawn[:references],
        rollouts=[rollouts[i * ROLLOUTS : (i + 1) * ROLLOUTS] for i in range(references)],
        warm_up=[_shuffled(text, rng) for text in drawn[-WARM_UP:]],
    )


def read_findings(path: Path, *, distinct: bool = True) -> list[str]:
    """Read the findings of more than one word from a CSV file.

    Args:
        path: It has a column `findings`.
        distinct: Whether equal reports are one; they are then sorted.

    Returns:
        The reports.
    """
    with path.open(encoding="utf-8", newline="") as file:
        texts = [row["findings"].strip() for row in csv.DictReader(file)]
    long = [text for text in texts if len(text.split()) > 1]
    return sorted(set(long)) if distinct else long


def phantom_findings(patients: int, seed: int) -> list[str]:
    """Write the findings of all studies of phantom patients, in the patients' order."""
    rng = np.random.default_rng(seed)
    return [text for _ in range(patients) for text in _course_findings(rng)]


def _distinct_phantom_findings(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    texts: set[str] = set()
    while len(texts) < count:
        texts.update(_course_findings(rng))
    return sorted(texts)


def _course_findings(rng: np.random.Generator) -> list[str]:
    from editgrpo.phantom.grammar import write_report
    from editgrpo.phantom.patients import draw_course
    from editgrpo.phantom.sites import PROFILES, Site

    profile = PROFILES[Site.A]
    return [
        write_report(
            findings, phrasing=profile.phrasing, has_prior=False, bedside=False, rng=rng
        ).findings
        for findings in draw_course(profile, rng).findings
    ]


def _shuffled(text: str, rng: random.Random) -> str:
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def build_checkpoints(folder: Path, *, size: Size, texts: Sequence[str]) -> None:
    """Write the four models of the paper's reward into a folder of models.

    Args:
        folder: One sub-folder a model, as `editgrpo models fetch` leaves them.
        size: How large they are.
        texts: Reports that the vocabularies are learnt from, so that words are cut into about as
            many pieces as by the published vocabularies.
    """
    build_rate_ner(folder / "rate-ner", size=size, texts=texts)
    calibrate_rate_ner(folder / "rate-ner", texts)
    build_biolord(folder / "biolord", size=size, texts=texts)
    calibrate_biolord(folder / "biolord", texts)
    build_chexbert(folder / "chexbert", size=size, texts=texts)
    build_radgraph(folder / "radgraph-xl", size=size, texts=texts, packed=False)


@torch.no_grad()
def calibrate_rate_ner(folder: Path, texts: Sequence[str]) -> None:
    """Give a random RaTE-NER a classifier that finds a plausible number of entities.

    Each piece that starts a word is dealt a label, and the classifier is fitted to tell the labels
    from the random encoder's states: so a word is mostly of one type, as to the published model.

    Args:
        folder: Its weights are replaced.
        texts: Reports on which the shares of labels are met.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=False).eval()
    ids_T, states_TD = token_states(getattr(model, model.base_model_prefix), tokenizer, texts)
    names = [model.config.id2label[label] for label in range(model.config.num_labels)]
    kind_L = torch.tensor([{"O": 0, "B": 1, "I": 2}[name[0]] for name in names])
    shares = torch.tensor([1 - BEGINS - CONTINUES, BEGINS, CONTINUES])
    share_L = shares[kind_L] / torch.bincount(kind_L)[kind_L]
    label_V = torch.multinomial(
        share_L, len(tokenizer), replacement=True, generator=torch.Generator().manual_seed(0)
    )
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    starts_word_V = torch.tensor([bool(re.match(r"▁\w", piece)) for piece in pieces])
    label_V[~starts_word_V] = names.index("O")
    target_TL = one_hot(label_V[ids_T], len(names)).double()
    mean_D, mean_L = states_TD.mean(dim=0), target_TL.mean(dim=0)
    centred_TD = states_TD - mean_D
    ridge_DD = 1e-6 * centred_TD.var() * len(ids_T) * torch.eye(len(mean_D))
    weight_DL = torch.linalg.solve(
        centred_TD.T @ centred_TD + ridge_DD, centred_TD.T @ (target_TL - mean_L)
    )
    shift_L = shift_to_shares(centred_TD @ weight_DL, share_L)
    model.classifier.weight.copy_(weight_DL.T)
    model.classifier.bias.copy_(shift_L - mean_D @ weight_DL)
    model.save_pretrained(folder)


def token_states(
    encoder: Any, tokenizer: Any, texts: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (T,) int64 ids and (T, D) float64 states of the tokens of all sentences."""
    sentences = sorted({sentence for text in texts for sentence in split(text)}, key=len)
    states, ids = [], []
    for start in range(0, len(sentences), 64):
        batch = tokenizer(sentences[start : start + 64], padding=True, return_tensors="pt")
        is_token = batch["attention_mask"].bool()
        states.append(encoder(**batch).last_hidden_state[is_token])
        ids.append(batch["input_ids"][is_token])
    return torch.cat(ids), torch.cat(states).double()


@torch.no_grad()
def calibrate_biolord(folder: Path, texts: Sequence[str]) -> None:
    """Centre the embeddings of a random BioLORD, which all point one way, so that different words
    are not alike and there is something to edit.

    Args:
        folder: Its weights are replaced.
        texts: Reports whose pairs of words are embedded.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
    words = " ".join(texts).split()
    phrases = [" ".join(words[start : start + 2]) for start in range(0, len(words) - 1, 20)]
    batch = tokenizer(phrases, padding=True, return_tensors="pt")
    mean_D = model(**batch).last_hidden_state[:, 0].mean(dim=0)
    model.encoder.layer[-1].output.LayerNorm.bias.sub_(mean_D)
    model.save_pretrained(folder)


def shift_to_shares(scores_TL: torch.Tensor, share_L: torch.Tensor) -> torch.Tensor:
    """Return what to add to each label's scores so that it wins its share of the tokens."""
    shift_L = torch.zeros_like(scores_TL[0])
    step = 0.02 * scores_TL.std()
    for _ in range(500):  # the shares stand still after half as many
        won_L = torch.bincount((scores_TL + shift_L).argmax(dim=1), minlength=len(share_L))
        shift_L += step * (share_L.log() - ((won_L + 1) / len(scores_TL)).log())
    return shift_L


def split(text: str) -> list[str]:
    """Return the sentences of a report, near enough for counting."""
    return re.split(r"(?<=\.)\s+", text.strip())


def lay_out_for_radeval(models: Path, folder: Path) -> dict[str, str]:
    """Place the checkpoints where RadEval looks for downloaded ones.

    Args:
        models: What `build_checkpoints` wrote.
        folder: Gets a Hub cache and the cache folders of CheXbert and RadGraph, as links.

    Returns:
        The environment variables that point there.
    """
    hub, cache = folder / "hub", folder / "cache"
    _link_snapshot(hub, "Angelakeke/RaTE-NER-Deberta", models / "rate-ner")
    _link_snapshot(hub, "FremyCompany/BioLORD-2023-C", models / "biolord")
    _link_snapshot(hub, "bert-base-uncased", models / "chexbert" / "tokenizer")
    _link_snapshot(cache / "chexbert", "StanfordAIMI/RRG_scorers", models / "chexbert")
    (cache / "radgraph" / "0.1.18").mkdir(parents=True)
    (cache / "radgraph" / "0.1.18" / "radgraph-xl").symlink_to(models / "radgraph-xl")
    return {"HF_HOME": str(folder), "HF_HUB_CACHE": str(hub), "XDG_CACHE_HOME": str(cache)}


def _link_snapshot(hub: Path, repository: str, target: Path) -> None:
    """Make a folder the main revision of a repository in a Hub cache."""
    root = hub / f"models--{repository.replace('/', '--')}"
    (root / "snapshots").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("0" * 40, encoding="ascii")
    (root / "snapshots" / ("0" * 40)).symlink_to(target, target_is_directory=True)
