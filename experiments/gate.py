"""The gate: what a model sees and what it says, measured for each finding before any RL is run.

*Sees*: a linear probe on the tower's features tells the finding on studies that it was not fitted
on. *Says*: the finding stands in reports sampled at temperature 1 where it is present. Both are
measured on a balanced phantom of the site's films and words, entropy and groups without spread on
the site's own studies.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from editgrpo.config import ClinicalConfig
from editgrpo.config.check import settings
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX
from editgrpo.rewards.registry import load_reward
from editgrpo.training.policy.load import load_for_inference, load_processor, resolve_model_folder
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.step.scoring import SAME_REWARD
from experiments.corpora import Corpus, shown_data, write_corpus
from experiments.probe import film_features, probe_auc
from experiments.saying import Counts, Drawing, labels_of, sample_reports, saying_counts

_REWARD = "rules"
# The probe's test set and the sampled studies are the test part of the balanced set.
_PROBE_SHARE = 0.8
# Seeds of the balanced set and of the site's studies lie apart from those of any stage's corpora.
_BALANCED_SEED, _SITE_SEED = 7_001, 7_002

Progress = Callable[[str], None]


class FindingKind(StrEnum):
    """What a model does with a finding."""

    VISIBLE_SAID = "visible and said"
    BETWEEN = "between"
    VISIBLE_UNSAID = "visible and unsaid"
    UNSEEN = "unseen"


@settings()
class Bands:
    """Where the kinds of findings part."""

    auc: float = 0.9
    """A finding is visible from here on."""
    said: float = 0.1
    """A visible finding is said above this p(say | present)."""
    unsaid: float = 0.01
    """A visible finding is unsaid up to this p(say | present)."""

    def kind(self, auc: float, p_present: float) -> FindingKind:
        """Tell the kind of a finding; one that could not be probed (NaN) is unseen."""
        if not auc >= self.auc:
            return FindingKind.UNSEEN
        if p_present > self.said:
            return FindingKind.VISIBLE_SAID
        return FindingKind.VISIBLE_UNSAID if p_present <= self.unsaid else FindingKind.BETWEEN


@settings()
class GateSize:
    """How much is measured."""

    samples: int = 200
    """Fewest sampled reports of studies with a finding."""
    balanced_studies: int = 2500
    """Studies of the balanced set: four fifths fit the probes, a fifth tests them and is sampled
    from."""
    site_studies: int = 400
    """Studies of the site, which say how frequent findings are."""
    groups: int = 96
    """Of the site's studies, those whose groups are sampled for entropy and spread."""
    group_size: int = 10
    """Sampled reports of a group; the paper's."""
    max_tokens: int = 80
    """Longest report, as in the demo."""


def run_gate(
    model: str,
    corpus: Corpus,
    *,
    work: Path,
    size: GateSize,
    bands: Bands,
    seed: int = 0,
    say: Progress = lambda _: None,
) -> dict[str, Any]:
    """Measure what a model sees and says at a site.

    Args:
        model: Folder of the model.
        corpus: The site, by its films, words and frequencies; its number of studies is not used.
        work: Where studies are kept between calls.
        size: How much is measured.
        bands: Where the kinds part.
        seed: Decides the draws of sampling; the studies are the same for all seeds.
        say: Told what is being done.

    Returns:
        One object for JSON: bands, sizes, entropy, groups without spread, and for each finding
        AUC, counts of saying, share of the site's studies and kind.

    Raises:
        EditGRPOError: the studies cannot be written or the model cannot be loaded.
    """
    policy = _Policy(model, size.max_tokens, seed)
    say("balanced studies")
    shares = (_PROBE_SHARE, 0.0, 1.0 - _PROBE_SHARE)
    even = corpus.balanced(studies=size.balanced_studies, seed=_BALANCED_SEED, shares=shares)
    balanced = write_corpus(even, work)
    say("studies of the site")
    own = replace(corpus, studies=size.site_studies, seed=_SITE_SEED, shares=(1.0, 0.0, 0.0))
    site = StudySet.load(write_corpus(own, work), split=Split.TRAIN)
    site_NF = labels_of([study.findings for study in site])
    train, test = (StudySet.load(balanced, split=part) for part in (Split.TRAIN, Split.TEST))
    say("linear probes")
    auc_F = policy.sees(train, test)
    say("what is said of balanced studies")
    present, absent = policy.says(test, size.samples)
    say("groups of the site's studies")
    groups = policy.groups(site[: size.groups], size.group_size)
    findings = {
        name: _finding(float(auc_F[k]), present[k], absent[k], float(site_NF[:, k].mean()), bands)
        for k, name in enumerate(FINDINGS)
        if k != NO_FINDING_INDEX and present[k].samples
    }
    return {
        "model": model,
        "profile": corpus.profile,
        "changes": dict(corpus.changes),
        "seed": seed,
        "bands": asdict(bands),
        "size": asdict(size),
        **groups,
        "share_with_visible_unsaid": _share_with(FindingKind.VISIBLE_UNSAID, findings, site_NF),
        "findings": findings,
    }


class _Policy:
    """A model whose sight and words are measured."""

    def __init__(self, model: str, max_tokens: int, seed: int) -> None:
        folder = resolve_model_folder(model)
        self._model = load_for_inference(folder, dtype=torch.float32).eval()
        self._processor = load_processor(folder)
        self._max_tokens, self._seed = max_tokens, seed

    def sees(self, train: StudySet, test: StudySet) -> NDArray[np.float64]:
        """Return for each of the 14 findings the AUC of a probe fitted on other studies."""
        views = [film_features(self._model, self._encoder(part), part) for part in (train, test)]
        labels = [labels_of([study.findings for study in part]) for part in (train, test)]
        return probe_auc(views[0], labels[0], views[1], labels[1])

    def says(self, studies: StudySet, samples: int) -> tuple[list[Counts], list[Counts]]:
        """Count what is said of studies, with so many samples of the rarest finding at least."""
        references_NF = labels_of([study.findings for study in studies])
        rarest = min(int(count) for count in references_NF.sum(axis=0) if count)
        drawn = sample_reports(
            self._model, self._encoder(studies), studies, self._drawing(-(-samples // rarest))
        )
        return saying_counts(drawn.texts_NK, references_NF)

    def groups(self, studies: StudySet, group_size: int) -> dict[str, float]:
        """Measure entropy, reward, and the share of groups whose rewards are all alike."""
        drawn = sample_reports(
            self._model,
            self._encoder(studies),
            studies,
            self._drawing(group_size),
            with_entropy=True,
        )
        reward = load_reward(_REWARD, clinical=ClinicalConfig())
        candidates = [text for row in drawn.texts_NK for text in row]
        references = [study.findings for study in studies for _ in range(group_size)]
        totals = np.asarray(reward.score(candidates, references).total)
        spread_P = np.ptp(totals.reshape(len(studies), group_size), axis=1)
        return {
            "entropy": round(float(drawn.entropies.mean()), 4),
            "groups_without_spread": round(float((spread_P <= SAME_REWARD).mean()), 4),
            "sampled_reward": round(float(totals.mean()), 4),
        }

    def _encoder(self, studies: StudySet) -> PromptEncoder:
        return PromptEncoder(studies, self._processor, shown_data(studies.folder))

    def _drawing(self, per_study: int) -> Drawing:
        return Drawing(per_study=per_study, max_tokens=self._max_tokens, seed=self._seed)


def _finding(
    auc: float, present: Counts, absent: Counts, site_share: float, bands: Bands
) -> dict[str, Any]:
    return {
        "kind": bands.kind(auc, present.share).value,
        "auc": round(auc, 4) if np.isfinite(auc) else None,
        "p_say_present": round(present.share, 5),
        "p_say_absent": round(absent.share, 5) if absent.samples else None,
        "present": asdict(present),
        "absent": asdict(absent),
        "site_share": round(site_share, 4),
    }


def _share_with(
    kind: FindingKind, findings: Mapping[str, Mapping[str, Any]], site_NF: Any
) -> float:
    """Return the share of the site's studies with at least one finding of a kind."""
    columns = [FINDINGS.index(name) for name, one in findings.items() if one["kind"] == kind.value]
    return round(float(site_NF[:, columns].any(axis=1).mean()), 4) if columns else 0.0
