"""RaTE-NER and BioLORD on small random checkpoints.

Expected values come from transformers, one text at a time, without padding.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ModelError
from editgrpo.reports.rate.decoding import decode_labels
from editgrpo.reports.rate.embeddings import EntityEmbedder, decode_embedding, encode_embedding
from editgrpo.reports.rate.entities import (
    EntityRecogniser,
    Mention,
    decode_mentions,
    encode_mentions,
)
from editgrpo.reports.types import EntityType
from tests.checkpoints.corpus import SENTENCES

LONG = " ".join(SENTENCES * 5).lower().replace(".", "")  # over 512 tokens as one sentence
TEXTS = [*SENTENCES, "clear", "naïve café 5 µm — 心", "a [SEP] b [PAD] effusion", LONG]


def test_long_text_is_cut(models: Path) -> None:
    assert len(AutoTokenizer.from_pretrained(models / "rate-ner")(LONG)["input_ids"]) > 512


@pytest.mark.slow
@pytest.mark.parametrize("batch_tokens", [1, 100, 8192])
def test_entities_do_not_depend_on_the_batch(models: Path, batch_tokens: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models / "rate-ner")
    model = AutoModelForTokenClassification.from_pretrained(models / "rate-ner").eval()
    expected = []
    for text in TEXTS:
        ids = tokenizer(text, max_length=512, truncation=True, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            best = model(input_ids=ids).logits[0].argmax(dim=1).tolist()
        kept = [token for token in ids[0].tolist() if token != tokenizer.pad_token_id]
        words = tokenizer.convert_ids_to_tokens(ids[0, : len(kept)].tolist())
        spans = decode_labels(
            [model.config.id2label[one] for one in best], [w in ("[CLS]", "[SEP]") for w in words]
        )
        expected.append(
            [
                (tokenizer.convert_tokens_to_string(words[span.start : span.end]), span.type)
                for span in spans
            ]
        )
    config = ClinicalConfig(
        models=str(models), offline=True, device="cpu", batch_tokens=batch_tokens
    )
    found = EntityRecogniser(config).find(TEXTS)
    assert [[(one.text, one.type) for one in mentions] for mentions in found] == expected
    # The comparison would say nothing if there were nothing to find.
    assert {one.type for mentions in found for one in mentions} == set(EntityType)
    assert sum(map(len, found)) > len(TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("batch_tokens", [1, 100, 8192])
def test_embeddings_do_not_depend_on_the_batch(models: Path, batch_tokens: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models / "biolord")
    model = AutoModel.from_pretrained(models / "biolord").eval()
    config = ClinicalConfig(
        models=str(models), offline=True, device="cpu", batch_tokens=batch_tokens
    )
    texts = ["", *TEXTS]
    found = EntityEmbedder(config).embed(texts)
    for text, embedding_D in zip(texts, found, strict=True):
        ids = tokenizer(text, max_length=30, truncation=True, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected_D = model(input_ids=ids).last_hidden_state[0, 0].numpy()
        assert embedding_D.dtype == np.float32
        np.testing.assert_allclose(embedding_D, expected_D, rtol=1e-5, atol=1e-5)


def test_embeddings_are_closed_to_writing(config: ClinicalConfig) -> None:
    (embedding_D,) = EntityEmbedder(config).embed(["effusion"])
    with pytest.raises(ValueError, match="read-only"):
        embedding_D[0] = 0
    restored_D = decode_embedding(encode_embedding(embedding_D))
    np.testing.assert_array_equal(restored_D, embedding_D)
    with pytest.raises(ValueError, match="read-only"):
        restored_D[0] = 0


def test_mentions_survive_the_store() -> None:
    mentions = (Mention("café \ud800", EntityType.NON_DISEASE), Mention("", EntityType.ANATOMY))
    assert decode_mentions(encode_mentions(mentions)) == mentions


def test_nothing_is_loaded_for_nothing(tmp_path: Path) -> None:
    config = ClinicalConfig(models=str(tmp_path), offline=True)
    assert EntityRecogniser(config).find([]) == []
    assert EntityEmbedder(config).embed([]) == []


def test_a_checkpoint_of_other_labels_is_refused(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "rate-ner", tmp_path / "rate-ner")
    file = tmp_path / "rate-ner" / "config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["id2label"]["1"] = "B-ORGAN"
    file.write_text(json.dumps(settings), encoding="utf-8")
    config = ClinicalConfig(models=str(tmp_path), offline=True, device="cpu")
    with pytest.raises(ModelError, match="'B-ORGAN', which is no label of RaTE-NER"):
        EntityRecogniser(config).find(["The heart is normal."])


def test_a_missing_model_names_the_command_that_gets_it(tmp_path: Path) -> None:
    config = ClinicalConfig(models=str(tmp_path), offline=True, device="cpu")
    with pytest.raises(ModelError, match="editgrpo models fetch rate-ner"):
        EntityRecogniser(config).find(["The heart is normal."])


def test_a_tokenizer_that_is_a_sentencepiece_model_alone_is_read(
    models: Path, tmp_path: Path
) -> None:
    import sentencepiece

    folder = tmp_path / "rate-ner"
    shutil.copytree(models / "rate-ner", folder)
    (folder / "tokenizer.json").unlink()
    (tmp_path / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(folder / "spm"),
        vocab_size=60,
        # The order of microsoft/deberta-v3-base.
        **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
        **{"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
        minloglevel=2,
    )
    (folder / "spm.vocab").unlink()
    config = ClinicalConfig(sources={"rate-ner": str(folder)}, offline=True, device="cpu")
    (mentions,) = EntityRecogniser(config).find([SENTENCES[0]])
    assert all(isinstance(one, Mention) for one in mentions)
