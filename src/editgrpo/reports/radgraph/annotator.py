"""The annotator `radgraph`: entities of radgraph-xl for the edit rules, the paper's ablation.

Entities have no embedding, so two are alike if their words are equal (case aside), and three
presence labels; anatomy has none. The model reads a report whole; an entity belongs to the sentence
that holds its first character, also where its last words stand in the next one. So, unlike with the
other annotators, what is found in a sentence depends on the report around it.
"""

from bisect import bisect_right
from collections.abc import Sequence

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.reports.radgraph.extractor import load_extractor
from editgrpo.reports.radgraph.graph import RadGraph
from editgrpo.reports.sentences import split_sentences
from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence, Entity, RadGraphLabel, Span


class RadGraphAnnotator:
    """Finds sentences, by the project's own rules, and their entities, by radgraph-xl.

    The extractor, and with it the memory, is shared with the rewards of the same configuration.

    Attributes:
        name: `radgraph`.

    Args:
        config: Where the weights are and how they run.
    """

    name = "radgraph"

    def __init__(self, config: ClinicalConfig) -> None:
        self._extractor = load_extractor(config, ClinicalModel.RADGRAPH_XL)

    def split(self, text: str) -> list[Span]:
        """Return the sentences' character ranges in order, without overlap and without surrounding
        white space."""
        return split_sentences(text)

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        """Annotate reports.

        Args:
            texts: N reports; an empty one has no sentence.

        Returns:
            N annotated reports; the text of an entity is as it stands in the report.

        Raises:
            ModelError: the weights are missing or damaged.
        """
        graphs = self._extractor.extract(texts)
        return [_annotate(text, graph) for text, graph in zip(texts, graphs, strict=True)]


def _annotate(text: str, graph: RadGraph) -> AnnotatedReport:
    """Deal the entities of a report to its sentences."""
    spans = split_sentences(text)
    starts = [span.start for span in spans]
    entities: list[list[Entity]] = [[] for _ in spans]
    for found in graph.entities:
        # Sentences hold every character that is not white space, so there is one before or at it.
        sentence = bisect_right(starts, found.start) - 1
        mention = text[found.start : found.end]
        entities[sentence].append(Entity(mention, RadGraphLabel(found.label)))
    return AnnotatedReport(
        tuple(
            AnnotatedSentence(text[span.start : span.end], tuple(of_sentence))
            for span, of_sentence in zip(spans, entities, strict=True)
        )
    )
