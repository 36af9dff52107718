"""The labeler `chexbert` on a small random checkpoint in the original's format.

The expected values come from the checkpoint's tensors and transformers' BertModel, one unpadded
report at a time.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.reports.chexbert_model import CheXbert, CheXbertLabeler, Reading
from editgrpo.reports.chexpert import FINDINGS, NO_FINDING_INDEX
from tests.checkpoints.chexbert import build_chexbert
from tests.checkpoints.corpus import SENTENCES

LONG = " ".join(SENTENCES * 4)  # over 600 tokens
REPORTS = ("", "clear", "naïve café 5 µm — 心", *SENTENCES, " ".join(SENTENCES[:6]), LONG)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_chexbert(folder / "chexbert")
    return folder


@pytest.fixture
def config(models: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that the model has read."""
    sizes: list[int] = []
    read = CheXbert.read

    def counting(self: CheXbert, rows: Sequence[list[int]]) -> list[Reading]:
        sizes.append(len(rows))
        return read(self, rows)

    monkeypatch.setattr(CheXbert, "read", counting)
    return sizes


def expected_reading(models: Path, text: str) -> tuple[list[int], torch.Tensor]:
    """Return classes and [CLS] state of a report, from the checkpoint's own tensors."""
    tokenizer = AutoTokenizer.from_pretrained(models / "chexbert" / "tokenizer")
    ids = tokenizer(text)["input_ids"]
    if len(ids) > 512:
        ids = [*ids[:511], tokenizer.sep_token_id]
    state = torch.load(models / "chexbert" / "chexbert.pth")["model_state_dict"]
    bert = BertModel(BertConfig.from_pretrained(models / "chexbert" / "tokenizer")).eval()
    bert.load_state_dict(
        {
            name.removeprefix("module.bert."): weight
            for name, weight in state.items()
            if name.startswith("module.bert.")
        }
    )
    with torch.no_grad():
        cls_D = bert(torch.tensor([ids])).last_hidden_state[0, 0]
    heads = [
        state[f"module.linear_heads.{head}.weight"] @ cls_D
        + state[f"module.linear_heads.{head}.bias"]
        for head in range(len(FINDINGS))
    ]
    return [int(logits.argmax()) for logits in heads], cls_D


@pytest.mark.slow
def test_classes_and_embeddings_are_those_of_the_checkpoint(
    models: Path, config: ClinicalConfig
) -> None:
    labeler = CheXbertLabeler(config)
    classes, embeddings = labeler.classify(REPORTS), labeler.embed(REPORTS)
    expected = [expected_reading(models, text) for text in REPORTS]
    assert classes.dtype == np.uint8 and embeddings.dtype == np.float32
    assert classes.tolist() == [found for found, _ in expected]
    np.testing.assert_allclose(
        embeddings, torch.stack([cls_D for _, cls_D in expected]), 1e-4, 1e-5
    )


def test_every_head_of_the_random_checkpoint_uses_its_classes(config: ClinicalConfig) -> None:
    classes = CheXbertLabeler(config).classify(REPORTS)
    assert [sorted(set(column.tolist())) for column in classes.T] == [
        [0, 1] if index == NO_FINDING_INDEX else [0, 1, 2, 3] for index in range(len(FINDINGS))
    ]


def test_positive_and_uncertain_are_merged(config: ClinicalConfig) -> None:
    labeler = CheXbertLabeler(config)
    merged = {0: 0, 1: 1, 2: 0, 3: 1}
    expected = [[merged[label] for label in row] for row in labeler.classify(REPORTS).tolist()]
    assert labeler.label(REPORTS).tolist() == expected


def test_white_space_between_words_means_nothing(config: ClinicalConfig) -> None:
    labeler = CheXbertLabeler(config)
    plain, spaced = labeler.embed(["The heart is normal.", "\n The  heart\r\n\tis normal. "])
    assert plain.tolist() == spaced.tolist()


def test_no_report_changes_what_another_one_gets(config: ClinicalConfig) -> None:
    together = CheXbertLabeler(config).embed(REPORTS)
    reversed_ = CheXbertLabeler(config).embed(REPORTS[::-1])[::-1]
    alone = np.concatenate([CheXbertLabeler(config).embed([text]) for text in REPORTS])
    np.testing.assert_allclose(together, reversed_, 1e-4, 1e-5)
    np.testing.assert_allclose(together, alone, 1e-4, 1e-5)


def test_no_reports_make_no_rows(config: ClinicalConfig) -> None:
    assert CheXbertLabeler(config).label([]).shape == (0, 14)


def test_a_report_is_read_once_for_labels_and_embedding(
    config: ClinicalConfig, batches: list[int]
) -> None:
    labeler = CheXbertLabeler(config)
    labeler.label(["normal heart", "clear lungs", "normal heart"])
    labeler.embed(["clear  lungs", "normal heart"])
    labeler.classify(["clear lungs"])
    assert sum(batches) == 2


def test_batches_are_bounded(config: ClinicalConfig, batches: list[int]) -> None:
    small = ClinicalConfig(models=config.models, offline=True, device="cpu", batch_tokens=16)
    CheXbertLabeler(small).label([*"abcdefgh"])
    # One character each: 3 tokens with [CLS] and [SEP], so five to a batch of 16.
    assert batches == [5, 3]


def test_stored_classes_need_no_model(models: Path, tmp_path: Path, batches: list[int]) -> None:
    def config(*, writes: bool) -> ClinicalConfig:
        return ClinicalConfig(
            models=str(models), offline=True, store=str(tmp_path), store_writes=writes, device="cpu"
        )

    first = CheXbertLabeler(config(writes=True)).classify(REPORTS)
    read_once = sum(batches)
    second = CheXbertLabeler(config(writes=False)).classify(REPORTS)
    assert second.tolist() == first.tolist()
    assert sum(batches) == read_once == len(REPORTS)


def test_identity_follows_the_weights(models: Path, tmp_path: Path) -> None:
    build_chexbert(tmp_path / "chexbert", seed=1)
    here, there = (
        CheXbertLabeler(ClinicalConfig(models=str(folder), offline=True)).identity
        for folder in (models, tmp_path)
    )
    assert here.startswith("chexbert@") and here != there


def test_loading_leaves_the_run_s_randomness_alone(config: ClinicalConfig, models: Path) -> None:
    before = torch.random.get_rng_state()
    CheXbert(models / "chexbert", device=torch.device("cpu"), dtype=torch.float32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_missing_checkpoint_is_one_line_with_the_command(tmp_path: Path) -> None:
    labeler = CheXbertLabeler(ClinicalConfig(models=str(tmp_path), offline=True))
    with pytest.raises(ModelError, match=r"editgrpo models fetch.*chexbert") as caught:
        labeler.label(["clear"])
    assert "\n" not in str(caught.value)
