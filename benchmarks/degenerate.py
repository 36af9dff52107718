"""Reports that nobody should be paid for: the degenerate reports of `reward_hacking.py`.

Each form maps reference reports to one report a study, or None where a study gives nothing to make
one of (a report without a negation has none to flip). What a form needs to know of a report it
asks the annotator and labeler `rules`.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from editgrpo.reports import Annotator, Labeler
from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX
from editgrpo.reports.types import AnnotatedReport, Presence

# A plain noun phrase for each of CheXpert's findings, in their order; own wording.
PHRASES = (
    "widening of the mediastinum",
    "cardiomegaly",
    "lung opacity",
    "lung nodule",
    "pulmonary edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural effusion",
    "pleural thickening",
    "rib fracture",
    "a central venous catheter",
)

# Each pair turns a denial into a statement, or back; the first that changes what is said is taken.
_FLIPS = (
    (re.compile(r"\b(there (?:is|are)) no\b", re.IGNORECASE), r"\1"),
    (re.compile(r"\bno evidence of\b", re.IGNORECASE), "evidence of"),
    (re.compile(r"\bwithout\b", re.IGNORECASE), "with"),
    (re.compile(r"\b(is|are) not\b", re.IGNORECASE), r"\1"),
    (re.compile(r"^no\b\s*", re.IGNORECASE), ""),
    (re.compile(r"\b(there (?:is|are)) (?:an? )?", re.IGNORECASE), r"\1 no "),
    (re.compile(r"^"), "No "),
)


@dataclass(frozen=True, slots=True)
class References:
    """Reference reports and what `rules` says of them.

    Attributes:
        texts: N reports.
        labels_NF: (N, 14) uint8.
        annotated: The N reports with their entities.
        annotator: What found them.
    """

    texts: tuple[str, ...]
    labels_NF: NDArray[np.uint8]
    annotated: tuple[AnnotatedReport, ...]
    annotator: Annotator

    @property
    def normal(self) -> list[str]:
        """The reports in which nothing is found."""
        is_normal_N = self.labels_NF[:, NO_FINDING_INDEX] == 1
        return [text for text, normal in zip(self.texts, is_normal_N, strict=True) if normal]

    @property
    def most_common_normal(self) -> str:
        """The normal report that occurs most often; of equally frequent ones the shortest."""
        counts = Counter(self.normal)
        return min(counts, key=lambda text: (-counts[text], len(text), text))


def read_references(texts: Sequence[str], annotator: Annotator, labeler: Labeler) -> References:
    """Ask the rules about reference reports.

    Args:
        texts: N reports, of which at least two are normal.
        annotator: Finds their entities.
        labeler: Labels them.

    Returns:
        The references.

    Raises:
        ValueError: fewer than two reports are normal.
    """
    references = References(
        tuple(texts), labeler.label(texts), tuple(annotator.annotate(texts)), annotator
    )
    if len(references.normal) < 2:
        raise ValueError(f"{len(texts)} references hold fewer than two normal reports; take more")
    return references


Form = Callable[[References, random.Random], list[str | None]]


def itself(references: References, _: random.Random) -> list[str | None]:
    """Return the reference: what a reward should pay most."""
    return list(references.texts)


def of_another_study(references: References, rng: random.Random) -> list[str | None]:
    """Return the reference of a study drawn at random: a real report of the wrong patient."""
    order = list(range(len(references.texts)))
    rng.shuffle(order)
    # A cycle through all studies: nobody gets the own report.
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [references.texts[following[index]] for index in range(len(order))]


def empty(references: References, _: random.Random) -> list[str | None]:
    """Say nothing."""
    return [""] * len(references.texts)


def same_normal(references: References, _: random.Random) -> list[str | None]:
    """Give everyone the most common normal report."""
    return [references.most_common_normal] * len(references.texts)


def copied_normal(references: References, rng: random.Random) -> list[str | None]:
    """Copy a normal report of a study drawn at random."""
    return [rng.choice(references.normal) for _ in references.texts]


def all_findings(references: References, _: random.Random) -> list[str | None]:
    """List every finding as present."""
    return [" ".join(f"There is {phrase}." for phrase in PHRASES)] * len(references.texts)


def all_denied(references: References, _: random.Random) -> list[str | None]:
    """List every finding as absent."""
    bare = (phrase.removeprefix("a ") for phrase in PHRASES)
    return [" ".join(f"There is no {phrase}." for phrase in bare)] * len(references.texts)


def one_sentence_repeated(references: References, rng: random.Random) -> list[str | None]:
    """Say one sentence of the reference five times and nothing else."""
    return [
        " ".join([rng.choice(report.sentences).text] * 5) if report.sentences else None
        for report in references.annotated
    ]


def all_said_twice(references: References, _: random.Random) -> list[str | None]:
    """Say each sentence of the reference twice."""
    return [
        " ".join(f"{sentence.text} {sentence.text}" for sentence in report.sentences) or None
        for report in references.annotated
    ]


def shuffled_words(references: References, rng: random.Random) -> list[str | None]:
    """Put the reference's words in random order: none of its sentences is left."""
    return [" ".join(rng.sample(text.split(), len(text.split()))) for text in references.texts]


def garbled_normal(references: References, _: random.Random) -> list[str | None]:
    """Call each of the reference's findings normal, in words that mean nothing.

    The form that a policy of `experiments/` found: "pleural effusion or silhouette is within normal
    limits" (docs/LOG.md, 2026-11-29). A reference without findings gives none.
    """
    return [
        " ".join(
            f"{PHRASES[index].capitalize()} or silhouette is within normal limits."
            for index in np.flatnonzero(labels_F[:NO_FINDING_INDEX])
        )
        or None
        for labels_F in references.labels_NF
    ]


def one_negation_flipped(references: References, rng: random.Random) -> list[str | None]:
    """Deny one thing that the reference states, or state one that it denies.

    The rest stays word for word, so that only what the sentence says of the patient changes.
    """
    return [_flipped(report, references.annotator, rng) for report in references.annotated]


def _flipped(report: AnnotatedReport, annotator: Annotator, rng: random.Random) -> str | None:
    sentences = [sentence.text for sentence in report.sentences]
    for index in rng.sample(range(len(sentences)), len(sentences)):
        for pattern, other in _FLIPS:
            sentence, count = pattern.subn(other, sentences[index], count=1)
            if count and _says_the_contrary(sentences[index], sentence, annotator):
                capital = sentence[:1].upper() + sentence[1:]
                return " ".join([*sentences[:index], capital, *sentences[index + 1 :]])
    return None


def _says_the_contrary(before: str, after: str, annotator: Annotator) -> bool:
    """Tell whether something that is present before is absent after, or the other way round."""
    said, unsaid = (
        {(entity.text.lower(), entity.type.presence) for entity in report.entities}
        for report in annotator.annotate([before, after])
    )
    contrary = {Presence.PRESENT: Presence.ABSENT, Presence.ABSENT: Presence.PRESENT}
    return any((words, contrary.get(presence)) in unsaid for words, presence in said if presence)


FORMS: dict[str, Form] = {
    "the reference itself": itself,
    "another study's report": of_another_study,
    "nothing": empty,
    "the most common normal report": same_normal,
    "another study's normal report": copied_normal,
    "every finding stated": all_findings,
    "every finding denied": all_denied,
    "one right sentence, five times": one_sentence_repeated,
    "the reference, each sentence twice": all_said_twice,
    "the reference's words, shuffled": shuffled_words,
    "its findings, called normal": garbled_normal,
    "the reference, one negation flipped": one_negation_flipped,
}
"""The forms by what they are, the two honest ones first."""

assert len(PHRASES) == len(FINDINGS) - 1
