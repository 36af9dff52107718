"""Studies encoded in threads as one after another, with and without the pixels of known images."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from editgrpo.data.prepared.image_store import ImageStore
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError
from editgrpo.training.policy import prompts as prompts_module
from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.processor import EncodedPrompt, join_images
from editgrpo.training.policy.prompts import PromptEncoder
from tests.builders import write_set
from tests.training.small_models import encoded_by
from tests.training.tiny_run import Tiny

IDS = (("a", "b"), ("c",), ("b", "d", "e"), ())


@pytest.fixture
def studies(tmp_path: Path) -> StudySet:
    """Four studies; the third shows an image of the first again."""
    written = [
        Study(
            study_id=f"s{number}",
            patient_id=f"p{number}",
            split=Split.TRAIN,
            images=tuple(
                StudyImage(image_id=name, view=View.PA, timepoint=Timepoint.CURRENT) for name in ids
            ),
            findings="Clear.",
        )
        for number, ids in enumerate(IDS)
    ]
    films = {"c": Image.linear_gradient("L").resize((28, 56))}
    write_set(tmp_path / "set", written, films)
    return StudySet.load(tmp_path / "set")


@pytest.fixture
def encoder(tiny: Tiny, studies: StudySet) -> PromptEncoder:
    return PromptEncoder(studies, load_processor(tiny.checkpoint), tiny.data())


def assert_same(left: EncodedPrompt, right: EncodedPrompt) -> None:
    assert (left.study_id, left.image_ids, left.left_out) == (
        right.study_id,
        right.image_ids,
        right.left_out,
    )
    for name in ("input_ids_T", "is_image_token_T", "pixel_values", "image_grid_thw"):
        one, other = getattr(left, name), getattr(right, name)
        assert (one is None and other is None) or torch.equal(one, other), name


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_threads_give_what_one_study_after_another_gives(
    encoder: PromptEncoder, studies: StudySet, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts_module, "default_workers", lambda: threads)
    together = encoder.encode_all(list(studies) * 3)
    assert [prompt.study_id for prompt in together] == [study.study_id for study in studies] * 3
    for prompt, study in zip(together, list(studies) * 3, strict=True):
        pixels = [encoder._images.pixels(image.image_id) for image in study.images]
        messages = prompts_module.build_messages(study, max_images=6)
        alone = encoded_by(encoder.processor, study.study_id, messages, pixels)
        assert_same(prompt, replace(alone, image_ids=prompt.image_ids))
    assert [prompt.image_ids for prompt in together[:4]] == list(IDS)


@pytest.mark.parametrize("threads", [1, 4])
def test_an_image_that_cannot_be_read_names_its_study(
    encoder: PromptEncoder, studies: StudySet, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts_module, "default_workers", lambda: threads)
    read = ImageStore.png
    monkeypatch.setattr(
        ImageStore, "png", lambda store, name: b"no PNG" if name == "d" else read(store, name)
    )
    with pytest.raises(DataError, match=r"study 's2': .*image 'd' is damaged"):
        encoder.encode_all(list(studies))
    missing = replace(studies[1], images=(StudyImage(image_id="z", view=View.PA),))
    for known in ((), ("z",)):
        with pytest.raises(DataError, match=r"study 's1': .*holds no image 'z'"):
            encoder.encode_all([studies[0], missing], known=known)


def test_known_images_are_neither_read_nor_cut(
    encoder: PromptEncoder, studies: StudySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoder.encode_all(list(studies))
    read: list[str] = []
    original = ImageStore.pixels
    monkeypatch.setattr(
        ImageStore, "pixels", lambda store, name: read.append(name) or original(store, name)
    )
    partly = encoder.encode_all(list(studies), known={"a", "c", "d"})
    assert sorted(read) == ["b", "e"]
    assert [prompt.left_out for prompt in partly] == [{0}, {0}, {1}, set()]
    for prompt, full in zip(partly, whole, strict=True):
        assert torch.equal(prompt.input_ids_T, full.input_ids_T)
        grids = (prompt.image_grid_thw, full.image_grid_thw)
        assert grids == (None, None) or torch.equal(*grids)
        for number, (ours, theirs) in enumerate(zip(prompt.patches(), full.patches(), strict=True)):
            assert ours is None if number in prompt.left_out else torch.equal(ours, theirs)
    with pytest.raises(DataError, match="study s1: 1 of its images were encoded without pixels"):
        join_images(partly[1:2])
    assert join_images(partly[3:]) == {}


def test_the_identity_of_pixels_follows_set_and_processor(
    tiny: Tiny, encoder: PromptEncoder, studies: StudySet
) -> None:
    before = encoder.pixel_identity
    again = PromptEncoder(studies, load_processor(tiny.checkpoint), tiny.data())
    assert again.pixel_identity == before
    again.processor.image_processor.image_mean = [0.5, 0.5, 0.5]
    assert again.pixel_identity != before
    _, other_set = tiny.encoder()
    assert other_set.pixel_identity != before


def test_two_threads_that_decode_one_image_count_it_once(
    studies: StudySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 'a' and 'b' take 56 * 56 * 3 = 9,408 bytes each: two fit, and 'a' counted twice would not.
    store = ImageStore.open(studies.folder, memory_bytes=2 * 9_408)
    both_decode = threading.Barrier(2, timeout=10)
    load = ImageStore.load

    def wait_and_load(self: ImageStore, name: str) -> Image.Image:
        both_decode.wait()
        return load(self, name)

    with monkeypatch.context() as patched:
        patched.setattr(ImageStore, "load", wait_and_load)
        threads = [threading.Thread(target=store.pixels, args=("a",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    first, second = store.pixels("a"), store.pixels("b")
    assert store.pixels("a") is first
    assert store.pixels("b") is second


def write_one(folder: Path, **texts: str) -> StudySet:
    study = Study(study_id="s7", patient_id="p", split=Split.TRAIN, images=(), **texts)
    write_set(folder, [study])
    return StudySet.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["findings", "indication", "technique", "comparison"])
def test_a_token_that_the_tokenizer_adds_is_refused_in_every_text(
    tmp_path: Path, tiny: Tiny, field: str
) -> None:
    processor = load_processor(tiny.checkpoint)
    processor.tokenizer.add_tokens(["~own~", "\n\n", "clear"])
    processor.tokenizer.add_special_tokens({"additional_special_tokens": ["[LAT]"]})
    texts = {"findings": "All is clear."}
    for token in ("~own~", "[LAT]"):
        studies = write_one(tmp_path / token, **(texts | {field: f"Seen {token} here."}))
        with pytest.raises(DataError) as caught:
            PromptEncoder(studies, processor, tiny.data())
        assert f"study 's7': field {field!r} holds {token!r}" in str(caught.value)
        assert "here" not in str(caught.value)
    PromptEncoder(write_one(tmp_path / "clean", findings="All is clear."), processor, tiny.data())


def test_a_token_of_the_model_in_the_template_is_refused(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "own.jinja").write_text("{{ images | length }} Look.<|im_end|>")
    studies = write_one(tmp_path / "set", findings="Clear.")
    config = replace(tiny.data(), prompt_template=str(tmp_path / "own.jinja"))
    encoder = PromptEncoder(studies, load_processor(tiny.checkpoint), config)
    with pytest.raises(
        DataError, match=r"study 's7': its prompt, by the template, holds '<|im_end"
    ):
        encoder.encode(studies[0])
