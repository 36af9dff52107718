"""The degenerate reports are what they are called, and the benchmark states what each is paid."""

import random
from pathlib import Path

import pytest
from benchmarks.degenerate import FORMS, PHRASES, References, read_references
from benchmarks.reward_hacking import HONEST, REFERENCE, TOTAL, measure, table
from benchmarks.scoring_workload import phantom_findings

from editgrpo.config import ClinicalConfig
from editgrpo.reports import load_annotator, load_labeler
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.rewards.registry import REWARDS

NORMAL = "The heart is normal. No pneumothorax."
TEXTS = (
    "There is a small left pleural effusion. No pneumothorax.",
    NORMAL,
    "The lungs are clear. There is no pneumothorax.",
    NORMAL,
)


@pytest.fixture(scope="module", name="references")
def references_fixture() -> References:
    return read_references(TEXTS, load_annotator("rules"), load_labeler("rules"))


def made(references: References, form: str) -> list[str | None]:
    return FORMS[form](references, random.Random(0))


def test_nobody_gets_the_own_report_as_another_study_s() -> None:
    texts = phantom_findings(20, seed=0)
    references = read_references(texts, load_annotator("rules"), load_labeler("rules"))
    others = made(references, HONEST)
    assert sorted(map(str, others)) == sorted(texts)
    order = list(range(len(texts)))
    numbered = References(
        tuple(map(str, order)), references.labels_NF, references.annotated, references.annotator
    )
    assert all(int(str(k)) != i for i, k in enumerate(made(numbered, HONEST)))


def test_the_most_common_normal_report_is_given_to_all(references: References) -> None:
    assert made(references, "the most common normal report") == [NORMAL] * 4


def test_copies_are_of_normal_reports(references: References) -> None:
    assert set(made(references, "another study's normal report")) <= set(TEXTS[1:])


@pytest.mark.parametrize("index", range(len(PHRASES)))
def test_phrase_means_its_finding(index: int) -> None:
    labels = load_labeler("rules").label([f"There is {PHRASES[index]}."])[0]
    assert labels[index] == 1, FINDINGS[index]


def test_lists_state_or_deny_every_finding(references: References) -> None:
    labeler = load_labeler("rules")
    stated, denied = (made(references, f"every finding {how}")[0] for how in ("stated", "denied"))
    assert labeler.label([str(stated)])[0].tolist() == [1] * 13 + [0]
    assert labeler.label([str(denied)])[0].tolist() == [0] * 13 + [1]


def test_one_negation_is_flipped_and_no_other_word_changes(references: References) -> None:
    flipped = made(references, "the reference, one negation flipped")
    # Every report has one or two sentences that can be flipped; which one is drawn.
    assert flipped[0] in (
        "There is no small left pleural effusion. No pneumothorax.",
        "There is a small left pleural effusion. Pneumothorax.",
    )
    assert flipped[1] == "The heart is normal. Pneumothorax."
    assert flipped[2] == "The lungs are clear. There is pneumothorax."


def test_a_report_without_a_negation_has_none_to_flip() -> None:
    texts = ("The heart is normal.", *TEXTS[1:])
    references = read_references(texts, load_annotator("rules"), load_labeler("rules"))
    assert made(references, "the reference, one negation flipped")[0] is None


def test_garbled_reports_name_the_findings_of_the_reference(references: References) -> None:
    assert made(references, "its findings, called normal") == [
        "Pleural effusion or silhouette is within normal limits.",
        None,
        None,
        None,
    ]


def test_repetition_and_order(references: References) -> None:
    twice = made(references, "the reference, each sentence twice")
    assert twice[1] == "The heart is normal. The heart is normal. No pneumothorax. No pneumothorax."
    once = str(made(references, "one right sentence, five times")[1])
    assert once in (" ".join(["The heart is normal."] * 5), " ".join(["No pneumothorax."] * 5))
    shuffled = str(made(references, "the reference's words, shuffled")[0])
    assert sorted(shuffled.split()) == sorted(TEXTS[0].split())


def test_fewer_than_two_normal_references_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two normal"):
        read_references(TEXTS[:2], load_annotator("rules"), load_labeler("rules"))


def test_pay_is_stated_against_the_honest_reports(references: References) -> None:
    parts = [*REWARDS["rules"], "text/new-sentences"]
    pay = measure(references, parts, ClinicalConfig())
    assert list(pay) == list(FORMS)
    assert pay[REFERENCE][TOTAL]["mean"] == 3
    assert pay[REFERENCE][TOTAL]["place"] == 1
    assert pay[HONEST][TOTAL]["place"] == 0
    assert not pay[HONEST][TOTAL]["paid"]
    assert pay["nothing"][TOTAL]["mean"] == 0
    # Labels see neither copies nor that the sentence is garbled; a share of new sentences sees both
    # copies of the first and nothing of the second.
    twice, garbled = pay["the reference, each sentence twice"], pay["its findings, called normal"]
    assert twice["rules/report-micro-f1-14"]["mean"] == 1
    assert twice["text/new-sentences"]["mean"] == 0.5
    assert garbled["rules/report-micro-f1-14"] == {
        "reports": 1, "mean": 1.0, "low": 1.0, "high": 1.0, "place": 1.0, "paid": True,
    }  # fmt: skip


def test_table_marks_what_is_paid(references: References) -> None:
    pay = measure(references, REWARDS["rules"], ClinicalConfig())
    lines = {line.split("|")[1].strip(): line for line in table({"pay": pay}).splitlines()[2:]}
    assert lines[REFERENCE].startswith("| the reference itself | 4 | 1.000 |")
    assert "| 1 | **1.000** |" in lines["its findings, called normal"]
    assert "*" not in lines["nothing"]


def test_a_part_of_ones_own_is_measured_too(
    references: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "def score(reports, references):\n    return [len(one.split()) for one in reports]\n"
    (tmp_path / "words_reward.py").write_text(own)
    monkeypatch.chdir(tmp_path)
    pay = measure(references, ["words_reward:score"], ClinicalConfig(), custom="words_reward:score")
    words = [len(text.split()) for text in TEXTS]
    assert pay[REFERENCE]["words_reward:score"]["mean"] == pytest.approx(sum(words) / len(words))
