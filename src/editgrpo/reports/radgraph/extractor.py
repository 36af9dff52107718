"""A RadGraph checkpoint as a function from reports to graphs.

A report is read whole, since its words are read in context; what was read is remembered by report,
in memory and, where a store is configured, on disk.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editgrpo.clinical.batching import run_batched
from editgrpo.clinical.device import batch_tokens
from editgrpo.clinical.memo import Memo, stored_by_model
from editgrpo.clinical.shared import clinical_key, shared, shared_model
from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.reports.radgraph.graph import (
    FORMAT_VERSION,
    GraphEntity,
    GraphRelation,
    RadGraph,
    decode,
    encode,
)
from editgrpo.reports.radgraph.tokens import Word, split_words

if TYPE_CHECKING:
    from editgrpo.reports.radgraph.dygie import FoundEntity
    from editgrpo.reports.radgraph.loading import LoadedRadGraph


class RadGraphExtractor:
    """Finds the graphs of reports; the weights are loaded with the first unknown report.

    `load_extractor` gives one copy a process.

    Attributes:
        model: The checkpoint.

    Args:
        config: Where the weights are and how they run.
        model: RADGRAPH_XL or RADGRAPH.

    Raises:
        DataError: the configured store cannot be opened.
        ModelError: a store is configured and the weights, whose identity is part of its keys,
            are missing.
    """

    def __init__(self, config: ClinicalConfig, model: ClinicalModel) -> None:
        self.model = model
        self._config = config
        stored = stored_by_model(
            config, model, what=f"radgraph/{FORMAT_VERSION}", encode=encode, decode=decode
        )
        self._memo: Memo[RadGraph] = Memo(self._read, stored=stored)

    def extract(self, texts: Sequence[str]) -> list[RadGraph]:
        """Return the graph of each report.

        Args:
            texts: Reports; one without words, or whose words the tokenizer drops, has no entities.

        Returns:
            One graph a text, in order; each distinct unknown report is read once.

        Raises:
            ModelError: the weights are missing or damaged.
            RewardError: a report does not fit into memory.
        """
        return self._memo(texts)

    def _read(self, texts: Sequence[str]) -> list[RadGraph]:
        loaded = _load(self._config, self.model)
        words = [split_words(text, self.model) for text in texts]
        pieces = loaded.tokenizer.pieces([[word.encoded for word in report] for report in words])
        readable = [index for index, report in enumerate(pieces) if any(report)]

        def run(batch: list[int]) -> list[list["FoundEntity"]]:
            return loaded.find([pieces[readable[position]] for position in batch])

        found = run_batched(
            [loaded.tokenizer.length(pieces[index]) for index in readable],
            run,
            max_tokens=batch_tokens(self._config),
        )
        graphs = [RadGraph()] * len(texts)
        for index, entities in zip(readable, found, strict=True):
            graphs[index] = _graph(words[index], entities)
        return graphs


def load_extractor(config: ClinicalConfig, model: ClinicalModel) -> RadGraphExtractor:
    """Return the extractor of a checkpoint, the same object for the same arguments.

    Args:
        config: Where the weights are and how they run.
        model: RADGRAPH_XL or RADGRAPH.

    Returns:
        An extractor, whose memory annotator, rewards and metrics share.
    """
    key = ("radgraph-extractor", model, clinical_key(config))
    return shared(key, lambda: RadGraphExtractor(config, model))


def _load(config: ClinicalConfig, model: ClinicalModel) -> "LoadedRadGraph":
    from editgrpo.reports.radgraph.loading import load_radgraph

    return shared_model(model, config, lambda _: load_radgraph(config, model))


def _graph(words: Sequence[Word], entities: Sequence["FoundEntity"]) -> RadGraph:
    return RadGraph(
        tuple(
            GraphEntity(
                tokens=" ".join(w.text for w in words[found.first_word : found.last_word + 1]),
                label=found.label,
                first_word=found.first_word,
                last_word=found.last_word,
                start=words[found.first_word].start,
                end=words[found.last_word].end,
                relations=tuple(GraphRelation(r.label, r.target) for r in found.relations),
            )
            for found in entities
        )
    )
