"""BERTScore: the matching by hand, the embeddings against transformers' full model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from editgrpo.clinical.weights import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.metrics.bert_score import (
    BASELINES,
    BertScore,
    TokenVectors,
    greedy_f1,
    rescaled,
)
from editgrpo.metrics.token_embeddings import TokenEncoder
from tests.checkpoints.bert_score import build_distilbert, build_distilroberta
from tests.checkpoints.corpus import SENTENCES

MODELS = tuple(BASELINES)
LONG = " ".join(SENTENCES * 4)  # over 600 tokens with either tokenizer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_distilbert(folder / ClinicalModel.DISTILBERT)
    build_distilroberta(folder / ClinicalModel.DISTILROBERTA)
    return folder


@pytest.fixture
def config(models: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


def scores(metric: BertScore, candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    found: list[float] = metric.compare(metric.read(candidates), metric.read(references)).tolist()
    return found


def vectors(*angles: float, weights: Sequence[float] | None = None) -> TokenVectors:
    """Make tokens that are unit vectors of the plane, given by their angles in degrees."""
    radians = np.radians(angles)
    unit_TD = np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
    weight_T = np.ones(len(angles)) if weights is None else np.array(weights, dtype=float)
    return TokenVectors(unit_TD, weight_T)


def test_each_token_is_matched_with_its_closest() -> None:
    candidate, reference = vectors(0, 60), vectors(0, 90, 180)
    # Precision: 0 -> 0 (1), 60 -> 90 (cos 30). Recall: 0 -> 0 (1), 90 -> 60 (cos 30),
    # 180 -> 60 (cos 120 = -1/2).
    cos30 = 3**0.5 / 2
    precision, recall = (1 + cos30) / 2, (1 + cos30 - 0.5) / 3
    expected = 2 * precision * recall / (precision + recall)
    assert greedy_f1(candidate, reference) == pytest.approx(expected, abs=1e-6)


def test_a_token_without_weight_is_matched_but_does_not_count() -> None:
    special = vectors(0, 90, weights=(0, 1))
    # The candidate's 0 finds the special token (1); the reference counts its 90 alone: cos 90 = 0,
    # so P = 1, R = 0.
    assert greedy_f1(vectors(0), special) == pytest.approx(0.0, abs=1e-6)
    # With 60 on the candidate's side: P = cos 30, R = cos 30.
    assert greedy_f1(vectors(60), special) == pytest.approx(3**0.5 / 2)


def test_a_text_without_words_matches_nothing() -> None:
    empty = vectors(0, 0, weights=(0, 0))
    assert greedy_f1(empty, vectors(0)) == greedy_f1(vectors(0), empty) == 0.0
    assert greedy_f1(empty, empty) == 0.0


def test_opposite_precision_and_recall_give_zero_not_infinity() -> None:
    assert greedy_f1(vectors(90), vectors(0)) == pytest.approx(0.0, abs=1e-6)
    orthogonal = TokenVectors(np.array([[0, 1]], dtype=np.float32), np.ones(1))
    assert greedy_f1(orthogonal, TokenVectors(orthogonal.unit_TD[:, ::-1], np.ones(1))) == 0.0


ANGLES = st.lists(st.floats(0, 360), min_size=1, max_size=6)


@pytest.mark.slow
@given(first=ANGLES, second=ANGLES)
def test_exchanging_the_texts_changes_nothing(first: list[float], second: list[float]) -> None:
    there, back = (
        greedy_f1(vectors(*first), vectors(*second)),
        greedy_f1(vectors(*second), vectors(*first)),
    )
    assert there == pytest.approx(back, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("score", "baseline", "expected"),
    [
        (1.0, 0.8, 1.0),
        (0.8, 0.8, 0.0),
        (0.9, 0.8, 0.5),
        (0.0, 0.66620487, -1.99585),  # -0.66620487 / 0.33379513
        (0.0, 0.8473319, -5.55016),  # -0.8473319 / 0.1526681
    ],
)
def test_rescaling_puts_the_baseline_at_zero(
    score: float, baseline: float, expected: float
) -> None:
    assert rescaled(score, baseline) == pytest.approx(expected, abs=1e-5)


def test_the_baselines_are_those_that_bert_score_published_for_layer_5() -> None:
    assert BASELINES == {
        ClinicalModel.DISTILBERT: 0.66620487,
        ClinicalModel.DISTILROBERTA: 0.8473319,
    }


def full_model_score(folder: Path, candidate: str, reference: str, baseline: float) -> float:
    """Score a pair with hidden state 5 of the whole model, one unpadded text at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
    model = AutoModel.from_pretrained(folder).eval()

    def states(text: str) -> NDArray[np.float32]:
        ids = tokenizer(text.strip(), return_tensors="pt", truncation=True, max_length=512)
        with torch.no_grad():
            hidden = model(**ids, output_hidden_states=True).hidden_states[5][0].numpy()
        found: NDArray[np.float32] = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
        return found

    cosine_CR = states(candidate) @ states(reference).T
    precision = cosine_CR.max(axis=1)[1:-1].mean()  # [CLS] and [SEP] can be matched, and no more
    recall = cosine_CR.max(axis=0)[1:-1].mean()
    return float((2 * precision * recall / (precision + recall) - baseline) / (1 - baseline))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_scores_are_those_of_layer_5_of_the_whole_model(
    models: Path, config: ClinicalConfig, model: ClinicalModel
) -> None:
    candidates = [*SENTENCES[:5], "clear", "naïve 5 µm — 心", LONG, " The heart\nis normal. "]
    references = [*SENTENCES[3:8], "clear lungs", SENTENCES[0], SENTENCES[1], "The heart"]
    expected = [
        full_model_score(models / model, *pair, BASELINES[model])
        for pair in zip(candidates, references, strict=True)
    ]
    metric = BertScore(model, config)
    assert metric.name == f"bertscore@{model.value}"
    np.testing.assert_allclose(scores(metric, candidates, references), expected, 1e-4, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_equal_reports_score_one_and_empty_ones_the_rescaled_zero(
    config: ClinicalConfig, model: ClinicalModel
) -> None:
    found = scores(BertScore(model, config), [LONG, "", "clear", ""], [LONG, "clear", " ", ""])
    empty = -BASELINES[model] / (1 - BASELINES[model])
    assert found == pytest.approx([1.0, empty, empty, empty], abs=1e-5)


def test_the_order_of_pairs_and_the_size_of_batches_mean_nothing(config: ClinicalConfig) -> None:
    candidates, references = [*SENTENCES, "clear"], [*SENTENCES[1:], LONG, SENTENCES[0]]
    metric = BertScore(ClinicalModel.DISTILBERT, config)
    together = scores(metric, candidates, references)
    small = ClinicalConfig(models=config.models, offline=True, device="cpu", batch_tokens=40)
    backwards = scores(
        BertScore(ClinicalModel.DISTILBERT, small), candidates[::-1], references[::-1]
    )
    np.testing.assert_allclose(together, backwards[::-1], 1e-4, 1e-4)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that were embedded."""
    sizes: list[int] = []
    embed: Callable[..., list[NDArray[np.float32]]] = TokenEncoder.embed

    def counting(self: TokenEncoder, rows: Sequence[list[int]]) -> list[NDArray[np.float32]]:
        sizes.append(len(rows))
        return embed(self, rows)

    monkeypatch.setattr(TokenEncoder, "embed", counting)
    return sizes


@pytest.mark.slow
def test_a_reference_is_embedded_once_though_its_candidates_stand_far_apart(
    config: ClinicalConfig, embedded: list[int]
) -> None:
    candidates = [f"candidate {number}" for number in range(1280)]
    references = [f"reference {number % 320}" for number in range(1280)]
    scores(BertScore(ClinicalModel.DISTILBERT, config), candidates, references)
    assert sum(embedded) == 1280 + 320


def test_loading_leaves_the_run_s_randomness_alone(models: Path) -> None:
    before = torch.random.get_rng_state()
    TokenEncoder(
        models / ClinicalModel.DISTILROBERTA,
        ClinicalModel.DISTILROBERTA,
        layers=5,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    assert torch.equal(torch.random.get_rng_state(), before)


def load(folder: Path, *, layers: int = 5) -> TokenEncoder:
    return TokenEncoder(
        folder,
        ClinicalModel.DISTILBERT,
        layers=layers,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def test_a_model_with_too_few_layers_is_refused(models: Path) -> None:
    with pytest.raises(ModelError, match="has 6 layers, layer 7 is needed"):
        load(models / ClinicalModel.DISTILBERT, layers=7)


def test_a_missing_weight_is_refused_by_name(tmp_path: Path) -> None:
    folder = build_distilbert(tmp_path / "distilbert-base-uncased")
    weights = load_file(folder / "model.safetensors")
    del weights["distilbert.transformer.layer.0.ffn.lin1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"lack 'transformer\.layer\.0\.ffn\.lin1\.weight'"
    ) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_broken_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = build_distilbert(tmp_path / "distilbert-base-uncased")
    (folder / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="editgrpo models fetch distilbert-base-uncased"):
        load(folder)
