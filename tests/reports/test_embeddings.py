"""Cosines between the entities of `rules`, derived by hand from reports/embeddings.py."""

from itertools import combinations

import numpy as np
import pytest

from editgrpo.reports import load_annotator
from editgrpo.reports.embeddings import embed
from editgrpo.reports.location import Location
from editgrpo.reports.ontology import Kind, load_ontology

ANNOTATOR = load_annotator("rules")
THRESHOLD = 0.6  # the edit threshold of the paper


def embedding(text: str) -> np.ndarray:
    (report,) = ANNOTATOR.annotate([text])
    (entity,) = (entity for entity in report.entities if entity.type.presence)
    return entity.embedding


def cosine(first: str, second: str) -> float:
    return float(embedding(first) @ embedding(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Cardiomegaly.", "The heart is enlarged."),
        ("Small left pleural effusion.", "Pleural fluid on the left."),
        ("Pulmonary edema.", "Interstitial edema."),
        ("Left lower lobe collapse.", "Atelectasis of the left lower lobe."),
        ("No pneumothorax.", "Pneumothorax."),
        ("Heart size is normal.", "Cardiomegaly."),
    ],
)
def test_synonyms_are_equal_whatever_their_presence(first: str, second: str) -> None:
    assert cosine(first, second) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        # 0.38 + 0.62 * (2 * 0.775**2 - 1) = 0.50478
        ("Left effusion.", "Right effusion.", 0.50478),
        # 0.38 + 0.62 * 0.775 = 0.8605
        ("Left effusion.", "Effusion.", 0.8605),
        # 0.38 + 0.62 * 0.775 * 0.9 = 0.81245
        ("Left effusion.", "Bilateral effusions.", 0.81245),
        # 0.38 + 0.62 * (2 * 0.9**2 - 1) = 0.7644
        ("Upper lobe consolidation.", "Lower lobe consolidation.", 0.7644),
        # sqrt(0.38) = 0.61644, sided or not
        ("Lungs are clear.", "Left lower lobe consolidation.", 0.61644),
        # sqrt(0.38) * 0.775 = 0.47774: one clear lung does not contradict findings elsewhere
        ("The left lung is clear.", "Right lower lobe consolidation.", 0.47774),
        ("Both lungs are clear.", "Lungs are clear.", 1.0),
        ("Lungs are clear.", "Left effusion.", 0.0),
        ("Pneumothorax.", "Effusion.", 0.38),
    ],
)
def test_cosine_by_side_height_and_system(first: str, second: str, value: float) -> None:
    assert cosine(first, second) == pytest.approx(value, abs=1e-5)


def test_a_wrong_side_is_another_finding_but_an_unsaid_side_is_not() -> None:
    assert (
        cosine("Left effusion.", "Right effusion.")
        < THRESHOLD
        < cosine("Left effusion.", "Effusion.")
    )


def test_embeddings_have_norm_one_and_cannot_be_written() -> None:
    vector = embedding("Left effusion.")
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 2.0


def test_all_other_findings_are_far() -> None:
    findings = [c for c in load_ontology().concepts if c.kind in (Kind.ABNORMALITY, Kind.DISEASE)]
    vectors = np.array([embed(concept, Location()) for concept in findings])
    cosines = vectors @ vectors.T
    assert max(cosines[i, j] for i, j in combinations(range(len(findings)), 2)) < 0.4
