"""Sentences, entities, embeddings and scores of RaTEScore 0.5.0 and 0.6.0 and of RadEval's copy.

All load the same small random checkpoints. Where the package fails or answers wrongly, a test shows
what it does and what is right.
"""

import csv
import random
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editgrpo.config import ClinicalConfig
from editgrpo.metrics.ratescore import (
    NO_ENTITIES,
    EntityTable,
    RateScore,
    RateVariant,
    entity_table,
    rate_weights,
)
from editgrpo.reports.rate.annotator import RateAnnotator
from editgrpo.reports.rate.boundaries import load_rush
from editgrpo.reports.rate.decoding import decode_labels
from editgrpo.reports.rate.sentences import split_sentences
from editgrpo.reports.types import AnnotatedReport
from tests.builders import shared_data
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.rate import LABELS, build_biolord, build_rate_ner
from tests.parity.clinical.conftest import OracleRunner

pytestmark = pytest.mark.parity

ORACLE = Path("ratescore.py")
# Package, its matrix (None where it has one only), and the variant that it is.
VERSIONS = [
    ("ratescore-0.5.0", None, RateVariant.V0_5_0),
    ("ratescore-0.6.0", "long", RateVariant.V0_6_0_LONG),
    ("ratescore-0.6.0", "short", RateVariant.V0_6_0_SHORT),
    ("radeval", "long", RateVariant.V0_6_0_LONG),
]
by_version = pytest.mark.parametrize(("package", "matrix", "variant"), VERSIONS)

LONG_SENTENCE = " ".join(SENTENCES * 5).lower().replace(".", "")  # over 600 tokens, cut at 512
MADE_UP = [
    "effusion",
    "Clear.",
    "Naïve café: 5 µm — 心影正常。 “Stable” cardiomegaly… 😀",
    " ".join(SENTENCES * 4),
    LONG_SENTENCE,
    "\n\nFINDINGS:\n  The heart is normal.\n\n 1) No edema\n 2) No effusion  \r\n",
    "No. Ok. It is. No pleural effusion or pneumothorax is seen.",
    "Effusion effusion EFFUSION, no effusion. Effusion.",
    "a [SEP] b [CLS] c [PAD] d [UNK] e",
]
# Not one sentence of three characters.
UNUSABLE = ["", " \n\t", ".", "ok", "A."]


@cache
def real_reports(column: str) -> list[str]:
    """Return the distinct real reports of Indiana University."""
    file = shared_data() / "iu_xray" / "indiana_reports.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        texts = [row[column] for row in csv.DictReader(lines)]
    return list(dict.fromkeys(text for text in texts if text.strip()))


@cache
def reports() -> list[str]:
    """Return made-up and, where they are at hand, real reports with a usable sentence."""
    generator = random.Random(0)
    try:
        real = generator.sample(real_reports("findings"), 40)
    except pytest.skip.Exception:
        real = []
    return [*MADE_UP, *real]


@cache
def pairs() -> list[list[str]]:
    """Return each report with the next and with itself, and short texts, which say little twice."""
    texts = reports()
    following = [*texts[1:], texts[0]]
    whole = [*zip(texts, following, strict=True), *zip(texts, texts, strict=True)]
    single = [
        sentence
        for text in [" ".join(SENTENCES), *texts[len(MADE_UP) :]]
        for sentence in sentences(text)[:16]
        if 10 < len(sentence) < 60
    ]
    return [list(pair) for pair in [*whole, *pairwise(single)]]


def messy_texts(count: int) -> list[str]:
    """Return texts with what a splitter stumbles over."""
    generator = random.Random(1)
    words = [word for sentence in SENTENCES for word in sentence.split()]
    marks = [" ", "  ", "\n", "\n\n", "\t", ".", ". ", " .", ":", ";", ",", "-", "1.", "2)", "("]
    marks += [")", "3.5 cm", "Dr. ", '"', "\xa0", "\u2003", "é", "…", "A", "XXXX", "p.m.", "and"]
    marks += ["*", "#", "+", "01/02/2020", "\r\n", "😀", "?", "!", "No"]
    texts = []
    for _ in range(count):
        pieces = [
            generator.choice(marks)
            if generator.random() < 0.35
            else generator.choice(words) + generator.choice([" ", " ", ""])
            for _ in range(generator.randrange(60))
        ]
        texts.append("".join(pieces))
    return texts


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rate")
    build_rate_ner(folder / "rate-ner")
    build_biolord(folder / "biolord")
    return folder


@pytest.fixture(scope="module")
def annotator(models: Path) -> RateAnnotator:
    return RateAnnotator(ClinicalConfig(models=str(models), offline=True, device="cpu"))


def ask(run_oracle: OracleRunner, models: Path, package: str, matrix: str | None) -> dict[str, Any]:
    """Ask a package everything at once; a second time costs nothing."""
    token_rows, label_rows = random_labels(20_000)
    request = {
        "texts": [*MADE_UP, *UNUSABLE, *messy_texts(300)],
        "token_rows": token_rows,
        "label_rows": label_rows,
        "reports": reports(),
        "pairs": [*pairs(), *unusable_pairs()],
        "batch": batch_with_an_unusable_report(),
        "ner": str(models / "rate-ner"),
        "biolord": str(models / "biolord"),
    }
    choice = {} if matrix is None else {"matrix": matrix}
    return run_oracle(ORACLE, request | choice, package=package, timeout_s=600)


def random_labels(count: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return rows of tokens with as many labels or, where padding was spelt out, more."""
    generator = random.Random(0)
    token_rows, label_rows = [], []
    for _ in range(count):
        length = generator.randrange(2, 12)
        tokens = ["[CLS]", *(f"t{index}" for index in range(1, length - 1)), "[SEP]"]
        for index in range(1, length - 1):  # a sentence may spell special tokens out
            if generator.random() < 0.03:
                tokens[index] = generator.choice(["[CLS]", "[SEP]"])
        kept = length if generator.random() < 0.9 else generator.randrange(1, length)
        token_rows.append(tokens[:kept])
        label_rows.append([generator.choice(LABELS[:5]) for _ in range(length)])
    return token_rows, label_rows


def unusable_pairs() -> list[list[str]]:
    before = [[text, SENTENCES[0]] for text in UNUSABLE]
    return before + [[SENTENCES[0], text] for text in UNUSABLE]


def batch_with_an_unusable_report() -> list[list[str]]:
    batch = [[SENTENCES[index], SENTENCES[index + 1]] for index in range(6)]
    batch[2] = ["ok", SENTENCES[3]]
    return batch


def our_scores(
    annotator: RateAnnotator, variant: RateVariant, batch: list[list[str]]
) -> list[float]:
    metric = RateScore(annotator, variant)
    candidates = metric.read([one for one, _ in batch])
    references = metric.read([other for _, other in batch])
    return metric.compare(candidates, references).tolist()


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split_sentences(text)]


def entities(report: AnnotatedReport) -> list[list[str]]:
    return [[entity.text, str(entity.type)] for entity in report.entities]


def test_sentences_of_all_real_reports_are_the_packages(run_oracle: OracleRunner) -> None:
    texts = [*real_reports("findings"), *real_reports("impression")]
    texts += [text.lower().replace(". ", " ") for text in texts[:200]]
    said = run_oracle(ORACLE, {"texts": texts}, package="ratescore-0.5.0", timeout_s=600)
    expected = [[one for one in row if one] for row in said["sentences"]]
    assert [sentences(text) for text in texts] == expected


@by_version
def test_sentences_and_their_rules_are_the_packages(
    package: str, matrix: str | None, variant: RateVariant, models: Path, run_oracle: OracleRunner
) -> None:
    said = ask(run_oracle, models, package, matrix)
    texts = [*MADE_UP, *UNUSABLE, *messy_texts(300)]
    expected = [[one for one in row if one] for row in said["sentences"]]
    assert [sentences(text) for text in texts] == expected
    rules = load_rush().fastner.rule_store.values()
    found = [[one.rule, one.rule_name, one.score, one.type] for one in rules]
    assert found == said["rules"]


@by_version
def test_labels_are_decoded_as_by_the_package(
    package: str, matrix: str | None, variant: RateVariant, models: Path, run_oracle: OracleRunner
) -> None:
    said = ask(run_oracle, models, package, matrix)["decoded"]
    for tokens, labels, expected in zip(*random_labels(20_000), said, strict=True):
        spans = decode_labels(labels, [token in ("[CLS]", "[SEP]") for token in tokens])
        found = [[" ".join(tokens[span.start : span.end]), span.type] for span in spans]
        assert found == expected


@by_version
def test_entities_and_embeddings_are_the_packages(
    package: str,
    matrix: str | None,
    variant: RateVariant,
    models: Path,
    annotator: RateAnnotator,
    run_oracle: OracleRunner,
) -> None:
    said = ask(run_oracle, models, package, matrix)["reports"]
    annotated = annotator.annotate(reports())
    assert [entities(report) for report in annotated] == [one["entities"] for one in said]
    assert sum(len(report.entities) for report in annotated) > 500
    for report, one in zip(annotated, said, strict=True):
        found_ED = np.array([entity.embedding for entity in report.entities])
        np.testing.assert_allclose(found_ED, np.array(one["embeddings"]), rtol=1e-5, atol=1e-5)


@by_version
def test_scores_are_the_packages(
    package: str,
    matrix: str | None,
    variant: RateVariant,
    models: Path,
    annotator: RateAnnotator,
    run_oracle: OracleRunner,
) -> None:
    said = [one for (one,) in ask(run_oracle, models, package, matrix)["scores"][: len(pairs())]]
    found = np.array(our_scores(annotator, variant, pairs()))
    bounds_N2 = np.array([score_bounds(annotator, variant, pair) for pair in pairs()])
    is_clear_N = bounds_N2[:, 1] - bounds_N2[:, 0] < 1e-6
    assert is_clear_N.sum() >= len(pairs()) // 4
    np.testing.assert_allclose(found[is_clear_N], np.array(said)[is_clear_N], rtol=0, atol=1e-5)
    # Elsewhere one text has several types, and the package's choice is left to rounding.
    for scores in (said, found):
        assert (scores >= bounds_N2[:, 0] - 1e-5).all()
        assert (scores <= bounds_N2[:, 1] + 1e-5).all()


def score_bounds(
    annotator: RateAnnotator, variant: RateVariant, pair: list[str]
) -> tuple[float, float]:
    """Return the lowest and the highest score over all choices among equally good matches."""
    one, other = (entity_table(report) for report in annotator.annotate(pair))
    if not len(one.type_E) or not len(other.type_E):
        return NO_ENTITIES, NO_ENTITIES
    sides = [directed_bounds(one, other, variant), directed_bounds(other, one, variant)]
    low, high = (2 * p * r / (p + r) for p, r in zip(*sides, strict=True))
    return low, high


def directed_bounds(
    looked_up: EntityTable, others: EntityTable, variant: RateVariant
) -> tuple[float, float]:
    """Return the lowest and the highest weighted mean; each entity chooses by itself.

    A mean m can be exceeded if the best choices for w (s - m) have a positive sum.
    """
    weights = rate_weights(variant)
    cosine_LO = looked_up.unit_ED.astype(np.float64) @ others.unit_ED.T.astype(np.float64)
    is_best_LO = cosine_LO >= cosine_LO.max(axis=1, keepdims=True) - 2e-5
    types = np.ix_(looked_up.type_E, others.type_E)
    affinity_LO = weights.affinity_TT[types]
    similarity_LO = weights.factor_TT[types] * cosine_LO

    def extreme(sign: int) -> float:
        low, high = -2.0, 2.0
        for _ in range(60):
            mean = (low + high) / 2
            gain_LO = sign * affinity_LO * (similarity_LO - mean)
            total = sign * np.where(is_best_LO, gain_LO, -np.inf).max(axis=1).sum()
            low, high = (mean, high) if total > 0 else (low, mean)
        return low

    return extreme(-1), extreme(1)


def test_which_of_equal_entities_the_package_chooses_depends_on_the_processor(
    models: Path, run_oracle: OracleRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {
        "texts": [],
        "token_rows": [],
        "label_rows": [],
        "reports": [],
        "pairs": pairs()[:60],
        "batch": pairs()[:1],
        "ner": str(models / "rate-ner"),
        "biolord": str(models / "biolord"),
    }
    usual = run_oracle(ORACLE, request, package="ratescore-0.5.0")["scores"]
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")  # torch without the newer instructions
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    again = run_oracle(ORACLE, request | {"processor": "old"}, package="ratescore-0.5.0")["scores"]
    difference_N = np.abs(np.array(usual) - np.array(again))
    if not (difference_N > 1e-5).any():
        pytest.skip("this processor rounds alike with old and new instructions")
    assert difference_N.max() > 1e-3


@by_version
def test_a_report_without_a_usable_sentence_breaks_the_package_and_scores_a_half_here(
    package: str,
    matrix: str | None,
    variant: RateVariant,
    models: Path,
    annotator: RateAnnotator,
    run_oracle: OracleRunner,
) -> None:
    said = ask(run_oracle, models, package, matrix)["scores"][len(pairs()) :]
    assert len(said) == len(unusable_pairs())
    assert all("IndexError" in one["error"] for one in said)
    assert our_scores(annotator, variant, unusable_pairs()) == [0.5] * len(said)


@by_version
def test_a_report_without_a_usable_sentence_shifts_the_packages_batch_and_not_ours(
    package: str,
    matrix: str | None,
    variant: RateVariant,
    models: Path,
    annotator: RateAnnotator,
    run_oracle: OracleRunner,
) -> None:
    said = ask(run_oracle, models, package, matrix)["batch"]
    batch = batch_with_an_unusable_report()
    right = our_scores(annotator, variant, batch)
    assert right == [our_scores(annotator, variant, [pair])[0] for pair in batch]
    assert right[2] == 0.5
    # The package has one score less, and from the third on compares candidate n + 1 with
    # reference n.
    shifted = [[batch[n if n < 2 else n + 1][0], batch[n][1]] for n in range(5)]
    np.testing.assert_allclose(said, our_scores(annotator, variant, shifted), rtol=0, atol=1e-5)
    assert not np.allclose(said, right[:2] + right[3:], rtol=0, atol=1e-3)
