"""Tests of the gate: probes, counts of what is said, kinds of findings, and the whole command."""

import json
from pathlib import Path

import numpy as np
import pytest
from experiments.__main__ import main
from experiments.gate import Bands, FindingKind
from experiments.gate_table import saying
from experiments.probe import auc, probe_auc
from experiments.saying import labels_of, saying_counts

from editgrpo.reports.chexpert import FINDINGS
from tests.training.tiny_run import Tiny


def test_auc_is_the_share_of_pairs_in_order() -> None:
    # First column: present .8, .4; absent .1, .4: of four pairs three are in order and one is a
    # tie, so (3 + .5) / 4. Second: all in order. Third: none. Fourth: nothing present.
    scores = np.array(
        [[0.8, 2, 0, 1], [0.4, 3, 1, 2], [0.1, 1, 2, 3], [0.4, 0, 3, 4]], dtype=np.float32
    )
    labels = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.uint8)
    np.testing.assert_allclose(auc(scores, labels), [0.875, 1.0, 0.0, np.nan])


def test_a_probe_finds_what_lies_in_either_view_of_the_features() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=(600, 3)).astype(np.uint8)
    noise = rng.normal(size=(2, 600, 12)).astype(np.float32)
    pooled, tokens = noise[0], noise[1]
    pooled[:, 4] += 6.0 * labels[:, 0]  # the first finding can be read off one, the second off the
    tokens[:, 7] += 6.0 * labels[:, 1]  # other view, the third off neither
    train = {"pooled": pooled[:400], "tokens": tokens[:400]}
    test = {"pooled": pooled[400:], "tokens": tokens[400:]}
    seen, also_seen, unseen = probe_auc(train, labels[:400], test, labels[400:])
    assert seen > 0.99 and also_seen > 0.99
    assert 0.4 < unseen < 0.6


def test_a_constant_column_says_nothing_and_breaks_nothing() -> None:
    labels = np.array([[0], [1]] * 40, dtype=np.uint8)
    features = np.concatenate([np.ones((80, 1)), labels], axis=1).astype(np.float32)
    views = {"pooled": features}
    assert probe_auc(views, labels, views, labels) == pytest.approx([1.0])


def test_what_is_said_is_counted_apart_for_present_and_absent() -> None:
    effusion, none = "There is a left pleural effusion.", "No pleural effusion."
    references = labels_of([effusion, none, none])
    said = [[effusion, none], [none, none], [effusion, effusion]]
    present, absent = saying_counts(said, references)
    k = FINDINGS.index("Pleural Effusion")
    assert (present[k].said, present[k].samples) == (1, 2)
    assert (absent[k].said, absent[k].samples) == (2, 4)
    other = FINDINGS.index("Fracture")
    assert (present[other].samples, absent[other].said, absent[other].samples) == (0, 0, 6)


@pytest.mark.parametrize(
    ("auc_value", "p", "kind"),
    [
        (0.95, 0.2, FindingKind.VISIBLE_SAID),
        (0.95, 0.1, FindingKind.BETWEEN),
        (0.95, 0.011, FindingKind.BETWEEN),
        (0.9, 0.01, FindingKind.VISIBLE_UNSAID),
        (0.95, 0.0, FindingKind.VISIBLE_UNSAID),
        (0.899, 0.0, FindingKind.UNSEEN),
        (0.899, 0.5, FindingKind.UNSEEN),
        (float("nan"), 0.5, FindingKind.UNSEEN),
    ],
)
def test_the_kind_of_a_finding(auc_value: float, p: float, kind: FindingKind) -> None:
    assert Bands().kind(auc_value, p) is kind


def test_nothing_said_is_shown_as_a_bound_and_not_as_zero() -> None:
    assert saying({"said": 0, "samples": 250}) == "<0.0040"
    assert saying({"said": 3, "samples": 250}) == "0.0120"


@pytest.mark.slow
def test_the_gate_of_any_model_and_site_from_one_command(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["gate", "--model", str(tiny.checkpoint), "--profile", "demo-b"]
    words += ["--set", "phrasing.phrase_decay=0.4", "--samples", "20", "--studies", "150"]
    words += ["--max-tokens", "12", "--output", "gate.json"]
    main(words)
    shown = capsys.readouterr().out
    found = json.loads(shown.splitlines()[-1])
    assert found == json.loads(Path("gate.json").read_text())
    assert found["changes"] == {"phrasing": {"phrase_decay": 0.4}}
    assert "Cardiomegaly" in shown and "unseen" in shown
    for one in found["findings"].values():
        assert one["present"]["samples"] >= 20
        assert 0 <= one["auc"] <= 1
    assert found["entropy"] > 0 and 0 <= found["groups_without_spread"] <= 1
    main(words)  # the studies lie there already, and all draws follow from the seed
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
