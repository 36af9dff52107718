"""A model laid out as published goes through every command, and plain transformers reads the end.

The demo's and the other tests' model is written by the installed transformers; this one is not.
"""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    GenerationConfig,
)

from editgrpo.config import DType, LoraConfig, OptimConfig, SFTConfig, TrainConfig
from editgrpo.data.study import Split
from editgrpo.errors import TrainingError
from editgrpo.files import read_jsonl
from editgrpo.training import generate
from editgrpo.training.policy.load import load_for_inference, load_processor
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.published import (
    ADDED,
    PUBLISHED,
    QWEN2_5_VL,
    QWEN3_VL,
    Vocabulary,
    added_tokens,
    learnt_vocabulary,
    true_vocabulary,
    write_published,
)
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow

TOKENS = 24


def paper_model(tiny: Tiny, **changes: Any) -> Any:
    """Return the model settings of the paper: bfloat16, a frozen vision tower."""
    settings = {"dtype": DType.BFLOAT16, "freeze_vision_tower": True, **changes}
    return tiny.model(gradient_checkpointing=True, **settings)


def sft_config(tiny: Tiny, output: Path) -> SFTConfig:
    return SFTConfig(
        model=paper_model(tiny),
        data=tiny.data(validation_limit=4),
        optim=OptimConfig(learning_rate=1e-2),
        epochs=5,
        batch_size=3,
        micro_batch_size=3,
        save_every=10,
        max_completion_tokens=TOKENS,
        output=str(output),
    )


def rl_config(tiny: Tiny, output: Path, **changes: Any) -> TrainConfig:
    settings = {"model": paper_model(tiny), "optim": OptimConfig(learning_rate=1e-3), "steps": 3}
    return tiny.train_config(output, save_every=1, **{**settings, **changes})


def token_px(family: str) -> int:
    """Return how many pixels of each side an image token covers."""
    return 32 if family == QWEN3_VL else 28


@pytest.fixture(scope="module", params=PUBLISHED)
def start(
    tiny: Tiny,
    tiny_32: Tiny,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tiny:
    """The studies of the other tests with a published model."""
    folder = tmp_path_factory.mktemp("published") / request.param
    return replace(
        tiny if token_px(request.param) == 28 else tiny_32,
        checkpoint=write_published(folder, request.param, learnt_vocabulary(SENTENCES)),
    )


@pytest.fixture(scope="module")
def tuned(start: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    run = tmp_path_factory.mktemp("sft") / "run"
    run_sft(sft_config(start, run))
    return replace(start, checkpoint=run / "model-for-rl")


@pytest.fixture(scope="module")
def trained(tuned: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    run = tmp_path_factory.mktemp("rl") / "run"
    run_training(rl_config(tuned, run))
    return replace(tuned, checkpoint=run / "model")


@pytest.fixture(scope="module")
def adapted(tuned: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    run = tmp_path_factory.mktemp("lora") / "run"
    model = paper_model(tuned, lora=LoraConfig(rank=4, alpha=8))
    run_training(rl_config(tuned, run, model=model))
    return replace(tuned, checkpoint=run / "model")


@pytest.fixture(params=["tuned", "trained", "adapted"])
def saved(start: Tiny, request: pytest.FixtureRequest) -> Tiny:
    """The model of each kind of run that began with `start`."""
    tiny: Tiny = request.getfixturevalue(request.param)
    return tiny


def tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            yield from ((name, weights.get_tensor(name)) for name in weights.keys())  # noqa: SIM118


def read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


@pytest.mark.parametrize("family", PUBLISHED)
def test_a_published_model_can_be_written_twice(family: str, tmp_path: Path) -> None:
    """Configuration classes of transformers change mappings that they are given."""
    vocabulary = learnt_vocabulary(SENTENCES)
    one, two = (
        read(write_published(tmp_path / name, family, vocabulary) / "config.json")
        for name in ("one", "two")
    )
    assert one == two


def test_what_is_saved_has_one_number_format_and_the_published_names(
    start: Tiny, saved: Tiny
) -> None:
    found = dict(tensors(saved.checkpoint))
    assert found.keys() == {name for name, _ in tensors(start.checkpoint)}
    formats = {str(value.dtype).removeprefix("torch.") for value in found.values()}
    config = read(saved.checkpoint / "config.json")
    assert formats == {config["dtype"]} == {config["torch_dtype"]}


def test_the_saved_configuration_keeps_every_published_key(start: Tiny, saved: Tiny) -> None:
    """transformers 4 and vLLM look for these; transformers 5 by itself writes others."""
    before, after = (read(one.checkpoint / "config.json") for one in (start, saved))
    # An unused window is dropped, and these two say what has changed.
    changed = {"sliding_window", "torch_dtype", "transformers_version"}
    vision, text = before.pop("vision_config"), before.pop("text_config", {})
    assert {key: after[key] for key in before if key not in changed} == {
        key: value for key, value in before.items() if key not in changed
    }
    assert {key: after["vision_config"][key] for key in vision} == vision
    assert bool(text) == ("text_config" in after)
    expected = {**text, "dtype": after["dtype"]} if text else {}
    assert {key: after["text_config"][key] for key in text} == expected
    tokens = [read(one.checkpoint / "tokenizer_config.json") for one in (start, saved)]
    assert tokens[1].pop("chat_template", None) is None  # the image template has a file of its own
    del tokens[0]["chat_template"], tokens[0]["add_bos_token"]
    assert {key: tokens[1][key] for key in tokens[0]} == tokens[0]
    for name in ("vocab.json", "tokenizer.json"):
        assert (saved.checkpoint / name).is_file()
    merges = [
        (one.checkpoint / "merges.txt").read_text().splitlines()[1:] for one in (start, saved)
    ]
    assert merges[0] == merges[1]
    videos = [one.checkpoint / "video_preprocessor_config.json" for one in (start, saved)]
    assert videos[0].is_file() == videos[1].is_file()
    if videos[0].is_file():  # sizes of videos are the class's own: no study has one
        settings, kept = read(videos[0]), read(videos[1])
        assert settings | kept == settings
        assert settings.keys() - kept.keys() == {"size", "processor_class"}
    ends = read(start.checkpoint / "generation_config.json")["eos_token_id"]
    assert read(saved.checkpoint / "generation_config.json")["eos_token_id"] == ends


def plain_reports(tiny: Tiny) -> list[str]:
    """Write reports with transformers alone, its settings those of the folder."""
    model, report = AutoModelForImageTextToText.from_pretrained(
        tiny.checkpoint, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = AutoTokenizer.from_pretrained(tiny.checkpoint)
    cut = AutoImageProcessor.from_pretrained(tiny.checkpoint, backend="pil")
    studies, encoder = tiny.encoder(Split.VALIDATION)
    reports = []
    for study in studies:
        prompt = encoder.encode(study)
        images = [encoder._images.pixels(image) for image in prompt.image_ids]
        pixels = cut(images=images, return_tensors="pt")  # of this size already: not resized
        assert torch.equal(pixels["pixel_values"], prompt.pixel_values)
        ids = model.eval().generate(
            input_ids=prompt.input_ids_T[None],
            attention_mask=torch.ones_like(prompt.input_ids_T)[None],
            mm_token_type_ids=prompt.is_image_token_T[None].int(),
            max_new_tokens=TOKENS,
            **pixels,
        )[0, prompt.input_ids_T.shape[0] :]
        reports.append(tokenizer.decode(ids, skip_special_tokens=True).strip())
    return reports


def test_plain_transformers_writes_the_same_reports(saved: Tiny, tmp_path: Path) -> None:
    predictions = generate.generate_predictions(
        model=str(saved.checkpoint),
        data=saved.data(),
        split=Split.VALIDATION,
        output=tmp_path / "predictions.jsonl",
        config=generate.GenerationConfig(max_completion_tokens=TOKENS),
    )
    ours = [row["prediction"] for _, row in read_jsonl(predictions)]
    assert plain_reports(saved) == ours
    assert all(len(report) > 20 for report in ours), "a model that says nothing proves nothing"


@pytest.mark.parametrize("backend", ["pil", "torchvision"])
def test_a_raw_film_makes_no_more_tokens_than_training_had(saved: Tiny, backend: str) -> None:
    if backend == "torchvision":
        pytest.importorskip("torchvision")
    cut = AutoImageProcessor.from_pretrained(saved.checkpoint, backend=backend)
    film = np.zeros((3056, 2544, 3), np.uint8)
    grid = cut(images=[film], return_tensors="pt")["image_grid_thw"]
    # The studies' budget is 2 x 2 tokens. As published it were 9,919 of 28 x 28.
    assert int(grid.prod()) // 4 <= 4
    side = token_px(read(saved.checkpoint / "config.json")["model_type"])
    assert (
        f"{side**2:,} to {4 * side**2:,} pixels, at most 4 image tokens of {side} x {side} pixels"
        in (saved.checkpoint / "README.md").read_text().replace("\n ", "")
    )


def test_a_stopped_run_resumes_to_the_same_bytes(
    tuned: Tiny, trained: Tiny, tmp_path: Path
) -> None:
    def crash(metrics: Any, _: object) -> None:
        if metrics["step"] == 2:
            raise TrainingError("a crash in step 2")

    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="a crash"):
        run_training(rl_config(tuned, run), on_step=crash)
    run_training(rl_config(tuned, run), resume=True)
    assert_same_run(trained.checkpoint.parent, run)


def test_a_published_model_samples_as_the_stock_one_does(start: Tiny) -> None:
    """Without fine-tuning, its own template and its two end tokens at work."""
    studies, encoder = start.encoder()
    model = load_for_inference(start.checkpoint, dtype=torch.float32).eval()
    config = generate.GenerationConfig(max_completion_tokens=8)
    pairs = list(generate.generate_reports(model, encoder, studies[:3], config))
    assert len(pairs) == 3
    tokenizer = encoder.processor.tokenizer
    # Qwen3-VL's template says nothing of its own.
    first = "user" if model.config.model_type == QWEN3_VL else "system"
    shown = tokenizer.decode(encoder.encode(studies[0]).input_ids_T)
    assert shown.startswith(f"<|im_start|>{first}\n")
    assert model.generation_config.repetition_penalty is not None
    model.generation_config = GenerationConfig(do_sample=False, pad_token_id=0)
    for study, report in pairs:
        prompt = encoder.encode(study)
        ids = model.generate(
            input_ids=prompt.input_ids_T[None],
            pixel_values=prompt.pixel_values,
            image_grid_thw=prompt.image_grid_thw,
            mm_token_type_ids=prompt.is_image_token_T[None].int(),
            max_new_tokens=8,
            eos_token_id=[tokenizer.convert_tokens_to_ids(token) for token in ADDED[:3:2]],
        )[0, prompt.input_ids_T.shape[0] :]
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == report


@pytest.fixture(scope="module")
def qwen_vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """The true vocabulary, from a wheel of the package index; the one test that asks for it."""
    folder = tmp_path_factory.mktemp("dashscope")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    try:
        done = subprocess.run([*command, "dashscope"], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("the package index did not answer within a minute")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        pytest.skip("no package index is reachable, so the wheel with Qwen's vocabulary is not")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return true_vocabulary(
            Path(wheel.extract("dashscope/resources/qwen.tiktoken", folder)),
        )


@pytest.mark.parametrize("family", [QWEN2_5_VL, QWEN3_VL])
def test_the_true_vocabulary_goes_through_a_run(
    tiny: Tiny, tiny_32: Tiny, tmp_path: Path, qwen_vocabulary: Vocabulary, family: str
) -> None:
    folder = write_published(tmp_path / "start", family, qwen_vocabulary)
    start = replace(tiny if token_px(family) == 28 else tiny_32, checkpoint=folder)
    tokenizer = load_processor(folder).tokenizer
    assert len(tokenizer) == 151_643 + len(added_tokens(family))
    # As the published tokenizer cuts it, and as its added tokens are numbered.
    assert tokenizer("Hello world")["input_ids"] == [9707, 1879]
    assert tokenizer("<|image_pad|><|im_end|>")["input_ids"] == [151_655, 151_645]
    run = tmp_path / "run"
    run_training(rl_config(start, run, steps=1))
    assert AutoTokenizer.from_pretrained(run / "model")("No effusion.") == tokenizer("No effusion.")
    found = {str(value.dtype) for _, value in tensors(run / "model")}
    assert found == {"torch.float32"}
