"""Measure the annotator and labeler `rules` on the real reports of IU X-Ray.

    OMP_NUM_THREADS=1 python benchmarks/rules_annotator.py [--data ../shared/data] [--medspacy]

Accuracy: definite positives in findings + impression against the gold labels of NegBio's OpenI
set, on the seven classes that both share, and No Finding against the gold "normal". `develop` is
the half of the gold that was read while the rules were written, `check` the half that was not; a
report belongs to one by the hash of its number. Intervals: 95 % bootstrap over reports, seed 0.
Speed: reports a second of one thread, from process time (wall time beside it), first pass (cold)
and second pass (sentences repeat). `--medspacy` also judges the same mentions with medSpaCy's
ConText and its own rules. The last line printed is one JSON object.
"""

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.data.iu_xray.reports import read_reports
from editgrpo.reports import load_annotator, load_labeler
from editgrpo.reports.chexpert import FINDINGS, LabelClass
from editgrpo.reports.ontology import Sense, load_ontology
from editgrpo.reports.sentences import split_sentences
from editgrpo.reports.tokens import Token, tokenize

# Column of the gold file to CheXpert finding; "normal" stands beside them.
SHARED = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
}
RESAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--medspacy", action="store_true")
    arguments = parser.parse_args()
    texts = load_texts(arguments.data)
    gold = load_gold(arguments.data)
    labeler, annotator = load_labeler("rules"), load_annotator("rules")
    everything = list(texts.values())
    result: dict[str, Any] = {"reports": len(everything), "speed": {}, "accuracy": {}}
    result["speed"]["annotate"] = speeds(annotator.annotate, everything)
    result["speed"]["classify_after_annotate"] = speeds(labeler.classify, everything)
    for half in ("develop", "check", "all"):
        numbers = [number for number in gold if half in ("all", half_of(number))]
        classes = labeler.classify([texts[number] for number in numbers])
        result["accuracy"][half] = accuracy(classes, [gold[number] for number in numbers])
    if arguments.medspacy:
        result["medspacy_context"] = measure_medspacy(texts, gold)
    print(json.dumps(result))


def load_texts(data: Path) -> dict[str, str]:
    """Return findings + impression of every report by its name in the gold file."""
    reports = read_reports(data / "iu_xray" / "NLMCXR_reports.tgz", None)
    return {f"CXR{r.uid}": f"{r.findings} {r.impression}".strip() for r in reports}


def load_gold(data: Path) -> dict[str, dict[str, str]]:
    with (data / "oracles" / "negbio_openi_gold_half.csv").open(encoding="utf-8") as file:
        return {row["filename"]: row for row in csv.DictReader(file)}


def half_of(number: str) -> str:
    return "develop" if hashlib.md5(number.encode()).digest()[0] % 2 == 0 else "check"


def speeds(read: Callable[[Sequence[str]], object], texts: Sequence[str]) -> dict[str, float]:
    """Time two passes over the texts."""
    result = {}
    for name in ("cold", "repeated"):
        wall, cpu = time.perf_counter(), time.process_time()
        read(texts)
        result[f"{name}_per_s"] = round(len(texts) / (time.process_time() - cpu), 1)
        result[f"{name}_per_s_wall"] = round(len(texts) / (time.perf_counter() - wall), 1)
    return result


def accuracy(classes: NDArray[np.uint8], gold: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Compare (N, 14) classes with the gold rows."""
    names = [*SHARED, "normal"]
    columns = [FINDINGS.index(finding) for finding in SHARED.values()] + [len(FINDINGS) - 1]
    found = classes[:, columns] == LabelClass.POSITIVE
    truth = np.array([[row[name] == "1" for name in names] for row in gold])
    # (N, 8, 3): true positives, false positives, false negatives of each report.
    counts = np.stack([found & truth, found & ~truth, ~found & truth], axis=-1).astype(np.int64)
    rng = np.random.default_rng(0)
    draws = rng.integers(len(gold), size=(RESAMPLES, len(gold)))
    totals = np.stack([counts[draw].sum(axis=0) for draw in draws])
    return {
        "reports": len(gold),
        "micro_f1": with_interval(counts[:, :-1].sum((0, 1)), totals[:, :-1].sum(1)),
        "normal_f1": with_interval(counts[:, -1].sum(0), totals[:, -1]),
        "f1": {name: f1(counts[:, i].sum(0)) for i, name in enumerate(SHARED)},
    }


def f1(counts: NDArray[np.int64]) -> float:
    true_positive, false_positive, false_negative = counts.tolist()
    return round(2 * true_positive / (2 * true_positive + false_positive + false_negative), 4)


def with_interval(counts: NDArray[np.int64], resampled: NDArray[np.int64]) -> dict[str, Any]:
    low, high = np.quantile([f1(row) for row in resampled], [0.025, 0.975])
    return {
        "value": f1(counts),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "tp_fp_fn": counts.tolist(),
    }


def measure_medspacy(texts: dict[str, str], gold: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Judge the mentions that `rules` finds with medSpaCy's ConText and the rules it ships."""
    import spacy
    from loguru import logger
    from medspacy.context import ConText

    logger.remove()
    pipeline = spacy.blank("en")
    context = ConText(pipeline)
    ontology = load_ontology()
    started = time.process_time()
    classes = np.zeros((len(gold), len(FINDINGS)), dtype=np.uint8)
    classes[:, -1] = LabelClass.POSITIVE
    for row, number in zip(classes, gold, strict=True):
        text = texts[number]
        for span in split_sentences(text):
            sentence = text[span.start : span.end]
            tokens = tokenize(sentence)
            mentions = ontology.findings.matches(tokens)
            for sense, value in judge(pipeline, context, sentence, tokens, mentions):
                row[list(sense.concept.classes)] = np.maximum(
                    row[list(sense.concept.classes)], value == LabelClass.POSITIVE
                )
                if value != LabelClass.NEGATIVE and sense.concept.veto:
                    row[-1] = LabelClass.BLANK
    seconds = time.process_time() - started
    measured = accuracy(classes, list(gold.values()))
    return {**measured, "cold_per_s": round(len(gold) / seconds, 1)}


def judge(
    pipeline: Any,
    context: Any,
    sentence: str,
    tokens: tuple[Token, ...],
    mentions: list[tuple[int, int, Sense]],
) -> Iterator[tuple[Sense, LabelClass]]:
    document = pipeline.make_doc(sentence)
    for token in document:
        token.is_sent_start = token.i == 0
    spans = []
    for start, end, sense in mentions:
        characters = tokens[start].start, tokens[end - 1].end
        span = document.char_span(*characters, label="FINDING", alignment_mode="expand")
        if span is not None and not (spans and span.start < spans[-1][0].end):
            spans.append((span, sense))
    document.ents = [span for span, _ in spans]
    context(document)
    for entity, (_, sense) in zip(document.ents, spans, strict=True):
        extension = entity._
        if extension.is_negated or sense.denied:
            yield sense, LabelClass.NEGATIVE
        elif extension.is_uncertain or sense.concept.hedged:
            yield sense, LabelClass.UNCERTAIN
        elif not (extension.is_historical or extension.is_hypothetical):
            yield sense, LabelClass.POSITIVE


if __name__ == "__main__":
    main()
