"""Tokens as bytes: nothing is lost, and decoding agrees with the tokenizer library."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from editgrpo.edits.codec import (
    ByteLevelCodec,
    byte_symbols,
    character_offsets,
    codec_of,
    decode_completion,
    join_bytes,
)
from editgrpo.errors import EditError
from tests.edits.tokenizers_for_tests import Words, all_words, codec, eos_token_id, tokenizer

ANY_IDS = st.lists(st.integers(0, len(tokenizer()) - 1), max_size=30)
BOTH = pytest.mark.parametrize("words", all_words(), ids=["byte-level", "byte-fallback"])


def test_the_byte_alphabet_is_the_one_of_the_tokenizer_library() -> None:
    assert dict(enumerate(byte_symbols())) == bytes_to_unicode()


@pytest.mark.slow
@settings(max_examples=100)
@given(ANY_IDS)
def test_decoding_agrees_with_the_tokenizer_library(ids: list[int]) -> None:
    before_end = ids[: ids.index(eos_token_id())] if eos_token_id() in ids else ids
    assert decode_completion(ids, codec=codec(), eos_token_id=eos_token_id()) == tokenizer().decode(
        before_end, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


@pytest.mark.slow
@BOTH
@settings(max_examples=100)
@given(data=st.binary(max_size=40))
def test_any_bytes_come_back(words: Words, data: bytes) -> None:
    assert join_bytes(words.codec.encode(data), words.codec) == data


@pytest.mark.slow
@BOTH
@settings(max_examples=100)
@given(text=st.text(max_size=40))
def test_any_text_comes_back(words: Words, text: str) -> None:
    ids = words.codec.encode(text.encode("utf-8"))
    assert words.tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize(
    "text",
    [
        "e\u0301",  # the tokenizer would compose it to one character
        "as in <|im_end|> of",  # and would read an end of sequence here
        "<tool_call> a b",  # added tokens that are not special stand for their text
        "\u2126 \ufb01 \U0001f600",
    ],
)
def test_text_that_the_tokenizer_would_change_is_spelled_out(text: str) -> None:
    ids = codec().encode(text.encode("utf-8"))
    assert eos_token_id() not in ids
    assert join_bytes(ids, codec()) == text.encode("utf-8")


@BOTH
def test_ordinary_text_is_tokenised_as_the_tokenizer_does(words: Words) -> None:
    text = "The heart is normal in size.\n\nNo  effusion."
    expected = words.tokenizer.encode(text, add_special_tokens=False)
    assert words.codec.encode(text.encode()) == expected


def test_the_codec_of_a_tokenizer_is_chosen_by_its_vocabulary() -> None:
    for words in all_words():
        assert type(codec_of(words.tokenizer)) is type(words.codec)


def test_bytes_and_runs_of_spaces_are_read_as_gemma_writes_them() -> None:
    words = all_words()[1]
    ids = words.tokenizer.convert_tokens_to_ids
    assert words.codec.token_bytes(ids("<0xC3>")) == b"\xc3"
    assert words.codec.token_bytes(ids("\u2581\u2581")) == b"  "
    assert words.codec.token_bytes(ids("<start_of_image>")) == b""
    # A single character of ASCII is the piece that the tokenizer would take, not its byte.
    assert words.codec.encode(b"a") == [ids("a")]
    assert words.codec.encode(b" ") == [ids("\u2581")]
    assert words.codec.encode("\u2581".encode()) == [
        ids(f"<0x{b:02X}>") for b in (0xE2, 0x96, 0x81)
    ]


def test_a_tokenizer_that_changes_a_text_is_refused() -> None:
    """Llama 2's adds a space to the beginning, and takes it away in decoding."""
    changed = json.loads(all_words()[1].tokenizer.backend_tokenizer.to_str())
    prefix = {"type": "Prepend", "prepend": "\u2581"}
    changed["normalizer"] = {"type": "Sequence", "normalizers": [prefix, changed["normalizer"]]}
    prefixing = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(changed)))
    with pytest.raises(EditError, match="keeps a text as it is"):
        codec_of(prefixing)


def test_special_and_unknown_tokens_stand_for_nothing() -> None:
    assert codec().token_bytes(eos_token_id()) == b""
    assert codec().token_bytes(10**6) == b""
    assert codec().token_bytes(tokenizer().convert_tokens_to_ids("a b")) == b"a b"


@settings(max_examples=100)
@given(st.binary(max_size=40))
def test_offsets_cut_bytes_into_the_characters_of_their_decoding(data: bytes) -> None:
    offsets = character_offsets(data)
    pieces = [data[a:b] for a, b in itertools.pairwise(offsets)]
    text = data.decode("utf-8", errors="replace")
    assert [piece.decode("utf-8", errors="replace") for piece in pieces] == list(text)
    assert offsets[-1] == len(data)


def test_a_tokenizer_that_is_not_byte_level_is_refused() -> None:
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"heart": 0, "?": 1})))
    with pytest.raises(EditError, match="byte-level"):
        ByteLevelCodec(words)
