"""Reports token by token: the same as those written at once, and given up when nobody reads."""

import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from editgrpo.config import GroupPass
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study
from editgrpo.errors import DataError
from editgrpo.training import streaming
from editgrpo.training.generate import GenerationConfig, generate_reports
from editgrpo.training.policy.generation_tokens import generation_tokens
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.prompts import PromptEncoder
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.streaming import Draft, stream_reports
from tests.training.tiny_run import MAX_TOKENS, Tiny

DRAWN = GenerationConfig(max_completion_tokens=MAX_TOKENS, temperature=1.3, seed=3)


@pytest.fixture(scope="module", params=[GroupPass.AUTO, GroupPass.PLAIN])
def writer(tiny: Tiny, request: pytest.FixtureRequest) -> tuple[Any, PromptEncoder, Study]:
    """The model, packed or by transformers' own loop, and a study."""
    studies = StudySet.load(tiny.studies, split=Split.TRAIN)
    processor = load_processor(tiny.checkpoint, request.param)
    return tiny.load().eval(), PromptEncoder(studies, processor, tiny.data()), studies[2]


def drafts(writer: Any, config: GenerationConfig, rows: range) -> list[tuple[Draft, ...]]:
    model, encoder, study = writer
    tokenizer, prompt = encoder.processor.tokenizer, encoder.encode(study)
    return list(stream_reports(model, tokenizer, prompt, config, rows=rows))


@pytest.mark.slow
@pytest.mark.parametrize("config", [replace(DRAWN, temperature=0.0), DRAWN])
def test_the_last_draft_is_the_report_of_generate(writer: Any, config: GenerationConfig) -> None:
    model, encoder, study = writer
    ((_, report),) = generate_reports(model, encoder, [study], config)
    found = drafts(writer, config, range(1))
    assert report
    assert found[-1][0].text == report
    assert [one.is_finished for (one,) in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.slow
def test_drafts_only_grow_and_every_number_has_its_own_draws(writer: Any) -> None:
    found = drafts(writer, DRAWN, range(3))
    for earlier, later in pairwise(found):
        assert all(b.text.startswith(a.text) for a, b in zip(earlier, later, strict=True))
    texts = [one.text for one in found[-1]]
    assert len(set(texts)) == 3
    assert all(one.is_finished for one in found[-1])
    again = drafts(writer, DRAWN, range(1, 3))
    assert [one.text for one in again[-1]] == texts[1:]


def test_a_report_that_reaches_the_limit_is_cut(writer: Any) -> None:
    ((short,),) = drafts(writer, GenerationConfig(max_completion_tokens=2), range(1))[-1:]
    assert short.is_finished
    assert short.is_truncated


@pytest.mark.slow
def test_every_token_is_told_once_and_none_behind_an_end(writer: Any) -> None:
    model, encoder, study = writer
    settings = generation_tokens(model, encoder.processor.tokenizer).sampling(
        max_tokens=MAX_TOKENS, temperature=1.3
    )
    settings = replace(settings, eos_token_ids=tuple(range(0, 400, 9)))  # ends come early, too
    generator = torch.Generator().manual_seed(0)
    uniforms = torch.rand(2, 4, MAX_TOKENS, generator=generator, dtype=torch.float64)
    told: dict[int, list[int]] = {row: [] for row in range(8)}
    prompts = [encoder.encode(study)] * 2
    responses = sample_responses(
        model, prompts, uniforms, settings, listener=lambda row, token: told[row].append(token)
    )
    assert len({len(row) for rows in responses for row in rows}) > 1  # some end before others
    assert list(told.values()) == [row for rows in responses for row in rows]


def test_sampling_ends_when_the_reader_stops(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, encoder, study = writer
    told: list[int] = []
    original = streaming.sample_responses

    def counted(*arguments: Any, listener: Any, **keywords: Any) -> Any:
        def tell(row: int, token: int) -> None:
            listener(row, token)
            told.append(token)
            if len(told) == 1:
                closed.wait(20)  # until the reader is gone

        return original(*arguments, listener=tell, **keywords)

    closed = threading.Event()
    monkeypatch.setattr(streaming, "sample_responses", counted)
    prompt, tokenizer = encoder.encode(study), encoder.processor.tokenizer
    stream = stream_reports(model, tokenizer, prompt, replace(DRAWN, temperature=0.0))
    next(stream)
    threading.Timer(0.2, closed.set).start()
    stream.close()
    assert len(told) == 1
    assert not [one for one in threading.enumerate() if one.name.startswith("sampling")]


def test_sampling_ends_when_it_is_told_to(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, encoder, study = writer
    told: list[int] = []
    original, stop = streaming.sample_responses, threading.Event()

    def counted(*arguments: Any, listener: Any, **keywords: Any) -> Any:
        def tell(row: int, token: int) -> None:
            listener(row, token)
            told.append(token)
            stop.set()

        return original(*arguments, listener=tell, **keywords)

    monkeypatch.setattr(streaming, "sample_responses", counted)
    prompt, tokenizer = encoder.encode(study), encoder.processor.tokenizer
    config = replace(DRAWN, temperature=0.0)
    *_, (last,) = stream_reports(model, tokenizer, prompt, config, stop=stop)
    assert len(told) == 1
    assert not last.is_finished


def test_what_goes_wrong_reaches_the_reader(tiny: Tiny) -> None:
    studies = StudySet.load(tiny.studies, split=Split.TRAIN)
    processor = load_processor(tiny.checkpoint)
    prompt = PromptEncoder(studies, processor, tiny.data()).encode(studies[0])
    broken = replace(prompt, is_image_token_T=torch.zeros_like(prompt.is_image_token_T))
    with pytest.raises(DataError, match=studies[0].study_id):
        list(stream_reports(tiny.load().eval(), processor.tokenizer, broken, DRAWN))


def test_half_a_character_is_not_shown() -> None:
    class Tokenizer:
        def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
            return bytes(tokens).decode("utf-8", errors="replace")

    row = streaming._Row(list("µ".encode())[:1])
    tokenizer: Any = Tokenizer()
    assert row.draft(tokenizer, (0,), 9) == Draft("")
    row.tokens += list("µ".encode())[1:]
    assert row.draft(tokenizer, (0,), 9) == Draft("µ")
