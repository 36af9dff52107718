"""Reports from findings: which sentences, in what words and order.

All findings of a study are stated in its findings section; normal statements are optional and
never deny what is there. `phrases.py` holds the words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from editgrpo.phantom import phrases
from editgrpo.phantom.findings import (
    CHEXPERT_CLASS,
    DEVICES,
    Finding,
    Kind,
    Progress,
    Side,
    Size,
    Topic,
    Zone,
)
from editgrpo.phantom.sites import Phrasing

T = TypeVar("T")

_NORMAL: dict[Topic, tuple[phrases.NormalPhrase, ...]] = {
    Topic.HEART: phrases.NORMAL_HEART,
    Topic.LUNGS: phrases.NORMAL_LUNGS,
    Topic.PLEURA: phrases.NORMAL_PLEURA,
    Topic.BONES: phrases.NORMAL_BONES,
    Topic.OTHER: phrases.NORMAL_OTHER,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The sections of a phantom report and what its findings section says.

    Attributes:
        labels: CheXpert classes that are called present or uncertain, in the order stated.
    """

    indication: str
    technique: str
    comparison: str
    findings: str
    impression: str
    labels: tuple[str, ...]


def write_report(
    findings: tuple[Finding, ...],
    *,
    phrasing: Phrasing,
    has_prior: bool,
    bedside: bool,
    rng: Generator,
) -> Report:
    """Word one study.

    Args:
        findings: Everything in the study, resolved findings included.
        phrasing: The site's preferences.
        has_prior: Whether a prior study exists.
        bedside: Whether the study is a portable frontal film.
        rng: Source of all choices.

    Returns:
        The sections; some are empty.
    """
    writer = _Writer(phrasing, rng)
    body, labels = writer.findings(findings)
    return Report(
        indication=writer.indication(findings),
        technique=writer.technique(bedside),
        comparison=writer.comparison(has_prior),
        findings=body,
        impression=writer.impression(findings),
        labels=labels,
    )


class _Writer:
    def __init__(self, phrasing: Phrasing, rng: Generator) -> None:
        self.phrasing = phrasing
        self.rng = rng

    def pick(self, options: Sequence[T]) -> T:
        """Choose with the site's preference for the start or the end of a list."""
        weights = self.phrasing.phrase_decay ** np.arange(len(options))
        return options[int(self.rng.choice(len(options), p=weights / weights.sum()))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def findings(self, findings: tuple[Finding, ...]) -> tuple[str, tuple[str, ...]]:
        """Return the findings section and the classes it calls present."""
        share = self.phrasing.caption_share
        # No draw where all or none are captions: such studies stay what they were.
        if share == 1 or (share and self.chance(share)):
            return _captions(findings)
        sentences: dict[Topic, list[str]] = {topic: [] for topic in self.phrasing.usual_order}
        labels: list[str] = []
        for index in self.rng.permutation(len(findings)):
            sentence, classes = self.state(findings[index])
            sentences[findings[index].kind.topic].append(sentence)
            labels.extend(classes)
        named = frozenset(finding.kind for finding in findings)
        for topic, options in _NORMAL.items():
            sentences[topic].extend(self.normal(topic, options, named))
        if not any(sentences.values()):
            sentences[Topic.LUNGS].append(phrases.NORMAL_LUNGS[0].text)
        order = list(self.phrasing.usual_order)
        if self.chance(self.phrasing.order_freedom):
            self.rng.shuffle(order)
        text = " ".join(sentence for topic in order for sentence in sentences[topic])
        return text, tuple(dict.fromkeys(labels))

    def normal(
        self, topic: Topic, options: Sequence[phrases.NormalPhrase], named: frozenset[Kind]
    ) -> list[str]:
        """Return no, one or two normal statements that deny nothing that the report names."""
        fitting = [phrase for phrase in options if not phrase.denies & named]
        if not fitting or not self.chance(self.phrasing.normal_shares[topic]):
            return []
        if self.phrasing.thorough:
            fitting = _most_thorough(topic, fitting)
        first = self.pick(fitting)
        more = [phrase for phrase in fitting if phrase.denies.isdisjoint(first.denies)]
        more = [phrase for phrase in more if phrase is not first]
        if not more or not self.chance(self.phrasing.second_normal):
            return [first.text]
        return [first.text, self.pick(more).text]

    def state(self, finding: Finding) -> tuple[str, tuple[str, ...]]:
        """Word one finding; return the sentence and the classes it calls present."""
        own = (CHEXPERT_CLASS[finding.kind],)
        words = _slots(finding)
        if finding.progress is Progress.RESOLVED:
            removed = finding.kind in DEVICES
            frames = phrases.REMOVED_FRAMES if removed else phrases.FRAMES[Progress.RESOLVED]
            return self.frame(self.pick(frames), finding, words), ()
        if finding.kind is Kind.CONSOLIDATION and self.chance(self.phrasing.pneumonia_share):
            return self.pneumonia(finding, words)
        hedgeable = finding.kind in phrases.HEDGEABLE and finding.progress in (
            Progress.NONE,
            Progress.NEW,
        )
        if hedgeable and self.chance(self.phrasing.hedge_share):
            return self.frame(self.pick(phrases.HEDGED_FRAMES), finding, words), own
        if finding.progress is Progress.NONE:
            if self.chance(self.phrasing.terse_share):
                return self.frame(phrases.TERSE_FRAME, finding, words), own
            whole = phrases.SENTENCES.get(finding.kind, ())
            frames = phrases.FRAMES[Progress.NONE]
            template = self.pick((*whole, *frames))
            if template in whole:
                return _fill(template, words), own
            return self.frame(template, finding, words), own
        return self.frame(self.pick(phrases.FRAMES[finding.progress]), finding, words), own

    def pneumonia(self, finding: Finding, words: dict[str, str]) -> tuple[str, tuple[str, ...]]:
        """Word a consolidation as pneumonia, with or without naming the consolidation."""
        frames = phrases.FRAMES[finding.progress]
        if self.chance(0.5):
            noun = _fill(self.pick(phrases.PNEUMONIA_NOUNS), words)
            return _frame(self.pick(frames), noun, plural=False), ("Pneumonia",)
        sentence = self.frame(self.pick(frames), finding, words)
        tail = self.pick(phrases.PNEUMONIA_TAILS)
        return sentence.removesuffix(".") + tail, ("Consolidation", "Pneumonia")

    def frame(self, template: str, finding: Finding, words: dict[str, str]) -> str:
        """Put one of the finding's noun phrases into a frame."""
        plural = finding.side is Side.BILATERAL and finding.kind in phrases.PLURAL_NOUNS
        nouns = (phrases.PLURAL_NOUNS if plural else phrases.NOUNS)[finding.kind]
        return _frame(template, _fill(self.pick(nouns), words), plural=plural)

    def indication(self, findings: tuple[Finding, ...]) -> str:
        """Return a reason for the study that hints at its findings only now and then."""
        if self.chance(0.2):
            return ""
        kinds = {f.kind for f in findings}
        leaning = [text for text, of in phrases.LEANING_INDICATIONS.items() if of & kinds]
        if leaning and self.chance(0.12):
            return self.pick(leaning)
        return self.pick((*phrases.INDICATIONS, *phrases.LEANING_INDICATIONS))

    def technique(self, bedside: bool) -> str:
        """Return the views, or nothing."""
        options = phrases.BEDSIDE_TECHNIQUES if bedside else phrases.TECHNIQUES
        return self.pick(options) if self.chance(0.7) else ""

    def comparison(self, has_prior: bool) -> str:
        """Return what the study was compared with, or nothing."""
        if has_prior:
            return self.pick(phrases.COMPARISONS) if self.chance(0.9) else ""
        return self.pick(phrases.NO_COMPARISONS) if self.chance(0.5) else ""

    def impression(self, findings: tuple[Finding, ...]) -> str:
        """Return a summary, or nothing."""
        if self.chance(0.25):
            return ""
        present = [
            f for f in findings if f.progress is not Progress.RESOLVED and f.kind not in DEVICES
        ]
        if not present:
            return self.pick(phrases.NORMAL_IMPRESSIONS)
        return " ".join(self.frame(phrases.TERSE_FRAME, f, _slots(f)) for f in present)


def _captions(findings: tuple[Finding, ...]) -> tuple[str, tuple[str, ...]]:
    """Return a caption for each finding that is there, in the order of `Kind`, and the classes."""
    seen = [f for kind in Kind for f in findings if f.kind is kind]
    seen = [f for f in seen if f.progress is not Progress.RESOLVED]
    classes = dict.fromkeys(CHEXPERT_CLASS[f.kind] for f in seen)
    return " ".join(map(_caption, seen)) or phrases.NO_CAPTION, tuple(classes)


def _caption(finding: Finding) -> str:
    parts = [phrases.CAPTIONS[finding.kind]]
    if finding.side is not Side.NONE:
        parts.append(str(finding.side))
    if finding.zone is not Zone.NONE:
        parts.append(str(finding.zone))
    if finding.kind in phrases.SIZED:
        parts.append(finding.size.name.lower())
    return ", ".join(parts) + "."


def _slots(finding: Finding) -> dict[str, str]:
    side = str(finding.side)
    both = finding.side is Side.BILATERAL
    # What is gone has no size any more.
    gone = finding.progress is Progress.RESOLVED
    return {
        "side": side,
        "Side": side.capitalize(),
        "severity": "" if gone else phrases.SEVERITY[finding.size],
        "degree": phrases.DEGREE[finding.size],
        "extent": "" if gone else phrases.EXTENT[finding.size],
        "lesion": "mass" if finding.size is Size.LARGE else "nodule",
        "place": _place(finding),
        "base": "bibasilar" if both else f"{side} basilar",
        "base_noun": "lung bases" if both else f"{side} lung base",
    }


def _place(finding: Finding) -> str:
    if finding.zone is Zone.MIDDLE and finding.side is Side.LEFT:
        return "lingula"
    return f"{finding.side} {finding.zone} lobe"


def _fill(template: str, words: dict[str, str]) -> str:
    return " ".join(template.format_map(words).split())


def _frame(template: str, noun: str, *, plural: bool) -> str:
    bare = plural or _is_mass_noun(noun)
    article = "" if bare else ("an " if noun[0] in "aeioE" else "a ")
    a, a_new = f"{article}{noun}", f"{'' if bare else 'a '}new {noun}"
    return template.format_map(
        {
            "np": noun,
            "Np": _capital(noun),
            "a": a,
            "A": _capital(a),
            "a_new": a_new,
            "A_new": _capital(a_new),
            "the": f"the {noun}",
            "The": f"The {noun}",
            "any": noun if bare else a,
            "is": "are" if plural else "is",
            "has": "have" if plural else "has",
        }
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _is_mass_noun(noun: str) -> bool:
    last_words = (
        "cardiomegaly", "enlargement", "widening", "opacity", "consolidation", "edema",
        "atelectasis", "thickening", "pneumonia",
    )  # fmt: skip
    return any(word in noun.split() for word in last_words)


def _most_thorough(
    topic: Topic, options: Sequence[phrases.NormalPhrase]
) -> list[phrases.NormalPhrase]:
    # All of these say the same: they deny as much of the topic as can be, and nothing beside it.
    def reach(phrase: phrases.NormalPhrase) -> tuple[int, int]:
        own = sum(kind.topic is topic for kind in phrase.denies)
        return own, own - len(phrase.denies)

    best = max(map(reach, options))
    return [phrase for phrase in options if reach(phrase) == best]
