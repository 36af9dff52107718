"""The annotator `rate`: RaTEScore's sentences, entities and embeddings.

A sentence is read by itself and an entity is embedded by itself, so both are remembered: a report
made of known sentences costs no run of a model.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.memo import Memo, stored_by_model
from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.reports.rate.embeddings import EntityEmbedder, decode_embedding, encode_embedding
from editgrpo.reports.rate.entities import (
    EntityRecogniser,
    Mention,
    decode_mentions,
    encode_mentions,
)
from editgrpo.reports.rate.sentences import split_sentences
from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence, Entity, Span

MIN_CHARACTERS = 3
"""RaTEScore looks for no entities in a shorter sentence."""

FORMAT = 1
"""Version of what is kept on disk; to be raised when entities or embeddings change for equal
models."""

SENTENCES = 32_768
"""Sentences remembered, their entities included. IU X-Ray has about 14,000 different ones."""

ENTITIES = 16_384
"""Embeddings remembered, 3 kB each."""


class RateAnnotator:
    """Finds sentences and entities as RaTEScore does; see docs/annotators.md.

    Models are loaded when the first unknown sentence comes.

    Args:
        config: Where the models lie, how they run, and where annotations are kept.
    """

    name = "rate"

    def __init__(self, config: ClinicalConfig) -> None:
        # What a sentence's entities are is remembered with the sentence itself.
        self._mentions: Memo[tuple[Mention, ...]] = Memo(
            EntityRecogniser(config).find,
            capacity=0,
            stored=stored_by_model(
                config,
                ClinicalModel.RATE_NER,
                what=f"rate/entities/{FORMAT}",
                encode=encode_mentions,
                decode=decode_mentions,
            ),
        )
        self._embeddings: Memo[NDArray[np.float32]] = Memo(
            EntityEmbedder(config).embed,
            capacity=ENTITIES,
            stored=stored_by_model(
                config,
                ClinicalModel.BIOLORD,
                what=f"rate/embeddings/{FORMAT}",
                encode=encode_embedding,
                decode=decode_embedding,
            ),
        )
        self._sentences: Memo[AnnotatedSentence] = Memo(
            self._annotate_sentences, capacity=SENTENCES
        )

    def split(self, text: str) -> list[Span]:
        """Return the sentences' character ranges in order, without overlap and without surrounding
        white space."""
        return list(split_sentences(text))

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        """Annotate reports; all their unknown sentences go through the models together.

        Args:
            texts: N reports; one of white space has no sentence.

        Returns:
            N annotated reports. Equal sentences are the same object.

        Raises:
            ModelError: a model is missing.
            RewardError: a single sentence does not fit into memory.
        """
        sentences_N = [
            [text[span.start : span.end] for span in split_sentences(text)] for text in texts
        ]
        distinct = list(dict.fromkeys(text for sentences in sentences_N for text in sentences))
        annotated = dict(zip(distinct, self._sentences(distinct), strict=True))
        return [
            AnnotatedReport(tuple(annotated[text] for text in sentences))
            for sentences in sentences_N
        ]

    def _annotate_sentences(self, texts: Sequence[str]) -> list[AnnotatedSentence]:
        """Annotate distinct sentences."""
        read = [text for text in texts if len(text) >= MIN_CHARACTERS]
        mentions = dict(zip(read, self._mentions(read), strict=True))
        names = list(dict.fromkeys(one.text for found in mentions.values() for one in found))
        embeddings = dict(zip(names, self._embeddings(names), strict=True))
        return [
            AnnotatedSentence(
                text,
                tuple(
                    Entity(one.text, one.type, embeddings[one.text])
                    for one in mentions.get(text, ())
                ),
            )
            for text in texts
        ]
