"""RaTEScore's formula by hand; whole reports are compared with the packages in
tests/parity/clinical/test_ratescore.py."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from editgrpo.errors import RewardError
from editgrpo.metrics.ratescore import (
    EntityTable,
    RateScore,
    RateVariant,
    entity_table,
    rate_score,
    rate_weights,
)
from editgrpo.reports.types import (
    AnnotatedReport,
    AnnotatedSentence,
    Entity,
    EntityType,
    Span,
)
from tests.builders import shared_data

ANATOMY, DISEASE, NON_DISEASE = EntityType.ANATOMY, EntityType.DISEASE, EntityType.NON_DISEASE
ABNORMALITY = EntityType.ABNORMALITY


def report(*entities: tuple[EntityType, Sequence[float]]) -> AnnotatedReport:
    found = [
        Entity("words", type_, 3 * np.array(vector, dtype=np.float32)) for type_, vector in entities
    ]
    return AnnotatedReport((AnnotatedSentence("Words.", tuple(found)),))


class GivenAnnotator:
    """Knows the reports that it is given."""

    name = "given"

    def __init__(self, **reports: AnnotatedReport) -> None:
        self.reports = reports

    def split(self, text: str) -> list[Span]:
        raise NotImplementedError("rewards never split a text")

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        return [self.reports[text] for text in texts]


def scores(
    variant: RateVariant, *, guarded: bool = False, **reports: AnnotatedReport
) -> NDArray[np.float64]:
    """Score every pair of the reports, row by row."""
    metric = RateScore(GivenAnnotator(**reports), variant, guarded=guarded)
    facts = metric.read(list(reports))
    pairs = [(one, other) for one in facts for other in facts]
    return metric.compare([one for one, _ in pairs], [other for _, other in pairs])


def score(candidate: AnnotatedReport, reference: AnnotatedReport, variant: RateVariant) -> float:
    return rate_score(entity_table(candidate), entity_table(reference), rate_weights(variant))


def test_a_copy_of_a_right_entity_pays() -> None:
    # One right and one wrong: (1 + 0) / 2 and 1, F1 2/3; two right ones: (1 + 1 + 0) / 3, F1 4/5.
    right, wrong = (DISEASE, (1.0, 0.0)), (DISEASE, (0.0, 1.0))
    reference = report(right)
    assert score(report(right, wrong), reference, RateVariant.V0_5_0) == pytest.approx(2 / 3)
    assert score(report(right, right, wrong), reference, RateVariant.V0_5_0) == pytest.approx(0.8)


def test_one_entity_each_gives_the_cosine() -> None:
    # P = R = w cos / w; (0.6, 0.8) and (1, 0) have cosine 0.6.
    value = score(report((DISEASE, (0.6, 0.8))), report((DISEASE, (1.0, 0.0))), RateVariant.V0_5_0)
    assert value == pytest.approx(0.6, rel=1e-6)


@pytest.mark.parametrize(
    ("variant", "factor"),
    [
        (RateVariant.V0_5_0, 0.3612),
        (RateVariant.V0_6_0_LONG, 0.8716553966489615),
        (RateVariant.V0_6_0_SHORT, 0.3611577852354489),
    ],
)
def test_contradicting_types_are_reduced_by_the_variants_factor(
    variant: RateVariant, factor: float
) -> None:
    value = score(report((DISEASE, (1.0, 0.0))), report((NON_DISEASE, (1.0, 0.0))), variant)
    assert value == pytest.approx(factor, rel=1e-6)


def test_exactly_the_eight_pairs_of_opposite_presence_contradict() -> None:
    reduced_TT = rate_weights(RateVariant.V0_5_0).factor_TT != 1
    types = list(EntityType)
    pairs = {(types[a].value, types[b].value) for a, b in np.argwhere(reduced_TT)}
    present, absent = ("ABNORMALITY", "DISEASE"), ("NON-ABNORMALITY", "NON-DISEASE")
    assert pairs == {pair for a in present for b in absent for pair in [(a, b), (b, a)]}


def test_weights_are_those_of_the_pair_of_types() -> None:
    # Reference: DISEASE e1, ANATOMY e2; candidate: DISEASE e1 only. Matrix "long":
    # disease->disease 0.8460555030578727, anatomy->disease 0.4592143222158069.
    # Looking up the reference: (0.84606 * 1 + 0.45921 * 0) / (0.84606 + 0.45921) = 0.648184.
    # Looking up the candidate: 1. F1 = 2 * 0.648184 / 1.648184 = 0.786543.
    candidate = report((DISEASE, (1.0, 0.0)))
    reference = report((DISEASE, (1.0, 0.0)), (ANATOMY, (0.0, 1.0)))
    assert score(candidate, reference, RateVariant.V0_6_0_LONG) == pytest.approx(0.786543, abs=1e-6)
    # Matrix "short": 0.19018958438059513 and 0.0006059634829551632:
    # 0.190190 / 0.190796 = 0.996824; F1 = 2 * 0.996824 / 1.996824 = 0.998410.
    value = score(candidate, reference, RateVariant.V0_6_0_SHORT)
    assert value == pytest.approx(0.998410, abs=1e-6)


def test_the_direction_of_the_matrix_is_from_the_entity_looked_up_to_its_match() -> None:
    # anatomy->abnormality 0.7487824274337533, abnormality->anatomy 0.6240929990607657,
    # abnormality->abnormality 0.4276119164393705.
    # Reference: ANATOMY e1, ABNORMALITY e2; candidate: ABNORMALITY (0.6, 0.8).
    # From the reference: (0.74878 * 0.6 + 0.42761 * 0.8) / 1.17639 = 0.672697.
    # From the candidate: its best is e2, with 0.8.
    # F1 = 2 * 0.672697 * 0.8 / 1.472697 = 0.730847.
    candidate = report((ABNORMALITY, (0.6, 0.8)))
    reference = report((ANATOMY, (1.0, 0.0)), (ABNORMALITY, (0.0, 1.0)))
    assert score(candidate, reference, RateVariant.V0_5_0) == pytest.approx(0.730847, abs=1e-6)


@pytest.mark.parametrize("variant", list(RateVariant))
def test_a_report_without_entities_scores_a_half_whatever_the_other(variant: RateVariant) -> None:
    full, empty = report((DISEASE, (1.0, 0.0))), report()
    np.testing.assert_allclose(scores(variant, full=full, empty=empty), [1, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("variant", list(RateVariant))
def test_guarded_a_candidate_without_entities_earns_nothing(variant: RateVariant) -> None:
    full, empty = report((DISEASE, (1.0, 0.0))), report()
    # Pairs (full, full), (full, empty), (empty, full), (empty, empty).
    values = scores(variant, guarded=True, full=full, empty=empty)
    np.testing.assert_allclose(values, [1, 0.5, 0, 0])


def test_opposite_meanings_can_cancel_out() -> None:
    # P = R = 0 for right angles: 0, not a division by zero.
    assert score(report((DISEASE, (1, 0))), report((DISEASE, (0, 1))), RateVariant.V0_5_0) == 0.0


def test_names_carry_the_variant() -> None:
    names = [RateScore(GivenAnnotator(), variant).name for variant in RateVariant]
    assert names == ["ratescore@0.5.0", "ratescore@0.6.0-long", "ratescore@0.6.0-short"]
    guarded = RateScore(GivenAnnotator(), RateVariant.V0_5_0, guarded=True)
    assert guarded.name == "ratescore@0.5.0-guarded"


def test_exchanging_candidate_and_reference_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    types = list(EntityType)
    reports = {
        f"r{n}": report(
            *((types[generator.integers(5)], generator.normal(size=8)) for _ in range(n + 1))
        )
        for n in range(6)
    }
    values = scores(RateVariant.V0_6_0_SHORT, **reports).reshape(6, 6)
    # Cosines are float32 sums, and some processors add A B' in another order than B A'.
    np.testing.assert_allclose(values, values.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.diag(values), 1, rtol=1e-5)


@pytest.mark.parametrize("before", range(6))
def test_equal_embeddings_of_different_types_are_chosen_as_torchs_sort_does(
    before: int,
) -> None:
    # The same finding is denied and stated, behind `before` others. torch 2.13's partial sort
    # decides; the expected choice is asked of it on the bare cosines 0 and 1.
    others = [(DISEASE, (0.0, 1.0))] * before + [(NON_DISEASE, (1.0, 0.0)), (DISEASE, (1.0, 0.0))]
    chosen = int(torch.topk(torch.tensor([0.0] * before + [1.0, 1.0]), 1).indices[0]) - before
    table, one = entity_table(report(*others)), entity_table(report((DISEASE, (1.0, 0.0))))
    weights = rate_weights(RateVariant.V0_5_0)
    from_one = [0.3612, 1.0][chosen]
    # From the others: disease->disease 0.84606 with cosine 0 (`before` times) and 1,
    # non-disease->disease 0.10073 with 0.3612.
    from_all = (0.10073046 * 0.3612 + 0.84605550) / (0.10073046 + 0.84605550 * (1 + before))
    expected = 2 * from_one * from_all / (from_one + from_all)
    assert rate_score(one, table, weights) == pytest.approx(expected, rel=1e-5)


def test_rounding_does_not_choose_between_types() -> None:
    # The second of two near-equal embeddings is nearer by 1e-7 or the first is: no difference.
    def value(first: float, second: float) -> float:
        others = report((NON_DISEASE, (1.0, first)), (DISEASE, (1.0, second)))
        return score(report((DISEASE, (1.0, 0.0))), others, RateVariant.V0_5_0)

    assert value(1e-3, 0.999e-3) == pytest.approx(value(0.999e-3, 1e-3), abs=1e-6)


def test_entities_of_another_annotator_are_refused() -> None:
    bare = AnnotatedReport((AnnotatedSentence("Words.", (Entity("words", DISEASE),)),))
    with pytest.raises(RewardError, match="take the annotator rate"):
        entity_table(bare)


def test_the_table_of_a_report_without_entities_is_empty() -> None:
    table = entity_table(report())
    assert isinstance(table, EntityTable)
    assert len(table.type_E) == 0


@pytest.mark.parametrize(
    ("variant", "file"),
    [
        (RateVariant.V0_5_0, "ratescore_long_weight.json"),
        (RateVariant.V0_6_0_LONG, "ratescore_long_weight.json"),
        (RateVariant.V0_6_0_SHORT, "ratescore_short_weight.json"),
    ],
)
def test_matrices_are_the_published_ones(variant: RateVariant, file: str) -> None:
    published = json.loads((shared_data() / "oracles" / file).read_text(encoding="utf-8"))
    affinity_TT = rate_weights(variant).affinity_TT
    types = list(EntityType)
    for row, one in enumerate(types):
        for column, other in enumerate(types):
            key = f"{one.value.lower()}_{other.value.lower()}"
            assert affinity_TT[row, column] == published[key]
