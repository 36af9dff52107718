"""`rules` on the real reports of IU X-Ray and on real generated ones; skips without them."""

import csv
import json

import numpy as np
import pytest

from editgrpo.data.iu_xray.reports import read_reports
from editgrpo.reports import load_annotator, load_labeler
from editgrpo.reports.chexpert import FINDINGS, LabelClass
from tests.builders import shared_data

pytestmark = pytest.mark.slow

# Columns of the gold file (NegBio's labels of OpenI) and the CheXpert findings they correspond to.
SHARED = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    reports = read_reports(shared_data() / "iu_xray" / "NLMCXR_reports.tgz", None)
    return {f"CXR{r.uid}": f"{r.findings} {r.impression}".strip() for r in reports}


def f1(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_definite_positives_and_normal_reach_the_gold(texts: dict[str, str]) -> None:
    gold_file = shared_data() / "oracles" / "negbio_openi_gold_half.csv"
    with gold_file.open(encoding="utf-8") as file:
        gold = list(csv.DictReader(file))
    classes = load_labeler("rules").classify([texts[row["filename"]] for row in gold])
    found = classes[:, [FINDINGS.index(finding) for finding in SHARED.values()]]
    truth = np.array([[row[name] == "1" for name in SHARED] for row in gold])
    normal = np.array([row["normal"] == "1" for row in gold])
    # Measured .943 and .913 (docs/annotators.md); the bounds are the required ones.
    assert f1(found == LabelClass.POSITIVE, truth) >= 0.94
    assert f1(classes[:, -1] == LabelClass.POSITIVE, normal) >= 0.91


def test_every_real_report_is_read(texts: dict[str, str]) -> None:
    annotator, reports = load_annotator("rules"), list(texts.values())
    assert len(reports) == 3955
    for text, report in zip(reports, annotator.annotate(reports), strict=True):
        spans = annotator.split(text)
        assert [s.text for s in report.sentences] == [text[x.start : x.end] for x in spans]
    assert load_labeler("rules").label(reports).max() == 1


def test_text_without_punctuation_is_labelled_like_the_report_it_came_from(
    texts: dict[str, str],
) -> None:
    pairs = json.loads((shared_data() / "oracles" / "iu_generated_pairs_half.json").read_text())
    labeler = load_labeler("rules")
    bare = labeler.label([pair["reference"] for pair in pairs]).astype(bool)
    whole = labeler.label([texts[pair["id"]] for pair in pairs]).astype(bool)
    # Measured .907; many of the bare references are cut short, so it cannot reach 1.
    assert f1(bare, whole) >= 0.88
    assert labeler.label([pair["generated"] for pair in pairs]).shape == (len(pairs), 14)
