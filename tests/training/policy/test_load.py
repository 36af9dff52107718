"""What a run starts from: its template must show images, its files must be whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from editgrpo.data import rendering
from editgrpo.data.prompt import Prompt
from editgrpo.errors import ModelError
from editgrpo.training.policy.chat_template import report_keywords
from editgrpo.training.policy.families import LINEAR_ATTENTION, packed_family
from editgrpo.training.policy.load import (
    load_checkpoint_weights,
    load_for_inference,
    load_processor,
    resolve_model_folder,
)
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.published import (
    PUBLISHED,
    QWEN3_VL,
    learnt_vocabulary,
    trl_template,
    write_published,
)

FIRST, INDEX = "model-00001-of-00002.safetensors", "model.safetensors.index.json"
PROMPT = Prompt(
    [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Look."}]}], ()
)
HYBRID = {"text_config": {"layer_types": ["linear_attention", "full_attention"]}}
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
IMAGE = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Look.<|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / request.param
    return write_published(folder, request.param, learnt_vocabulary(SENTENCES))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "model"))


def is_qwen3(folder: Path) -> bool:
    settings = json.loads((folder / "config.json").read_text())
    return bool(settings["model_type"] == QWEN3_VL)


def rendered(folder: Path) -> str:
    tokenizer = load_processor(folder).tokenizer
    text: str = tokenizer.apply_chat_template(
        PROMPT.messages, tokenize=False, add_generation_prompt=True
    )
    return text


@pytest.mark.slow
def test_the_published_image_template_is_taken(folder: Path) -> None:
    # Qwen3-VL's says nothing of its own.
    assert rendered(folder) == ("" if is_qwen3(folder) else SYSTEM) + IMAGE + ANSWER


def test_a_file_of_its_own_goes_before_json_and_before_the_tokenizers(folder: Path) -> None:
    own = trl_template("qwen2_5_vl").replace("You are a helpful assistant.", "Read films.")
    (folder / "chat_template.jinja").write_text(own)
    assert rendered(folder).startswith("<|im_start|>system\nRead films.<|im_end|>")


def test_the_tokenizers_template_serves_where_it_shows_images(folder: Path) -> None:
    (folder / "chat_template.json").unlink()
    change(folder / "tokenizer_config.json", chat_template=trl_template("qwen2_5_vl"))
    assert rendered(folder) == SYSTEM + IMAGE + ANSWER


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


TEXT_ONLY = "{% for m in messages %}{{ m.content }}{% endfor %}"
TWICE = "<|image_pad|><|image_pad|>{% for p in messages[0].content %}{{ p.text }}{% endfor %}"
WITHOUT_TEXT = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [
        trl_template("qwen2_5"),
        TEXT_ONLY,
        TWICE,
        WITHOUT_TEXT,
        "",
        "{% for %}",
        "{{ 1 / 0 }}",
        "{{ raise_exception('Look.') }}",
        "{{ messages[0].content.__class__.__mro__ }}",
    ],
)
@pytest.mark.parametrize("place", ["chat_template.jinja", "chat_template.json", "tokenizer"])
def test_a_template_without_an_image_is_refused_in_one_line(
    folder: Path, template: str, place: str
) -> None:
    (folder / "chat_template.json").unlink()
    if place.endswith("jinja"):
        (folder / place).write_text(template)
    elif place.endswith("json"):
        (folder / place).write_text(json.dumps({"chat_template": template}))
    else:
        place = "tokenizer_config.json"
        change(folder / place, chat_template=template)
    with pytest.raises(ModelError, match=rf"{place}: .*chat_template\.jinja or") as caught:
        load_processor(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for i in range(10**9) %}x{% endfor %}", "asks for too much"),
        ("{{ 'x' * 10**10 }}", "asks for too much"),
        ("{{ messages[0].content[-1].text * 10**9 }}", "asks for too much"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "asks for too much"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "is not done after 1 s",
        ),
        ("{% for i in range(9999) %}{{ 'x' * 9000 }}{% endfor %}", "writes more than 200,000"),
        ("{% generation %}{{ 'x' * 10**10 }}{% endgeneration %}", "asks for too much"),
    ],
)
def test_a_chat_template_without_an_end_is_ended(
    folder: Path, template: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "TIME_LIMIT_S", 1.0)
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(
        ModelError, match=rf"chat_template\.jinja: chat template {message}"
    ) as caught:
        load_processor(folder)
    assert "\n" not in str(caught.value)


def test_what_transformers_gives_to_a_chat_template_is_there_in_the_trial(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[dict[str, Any]] = []
    ask = rendering._renderer.ask
    monkeypatch.setattr(
        rendering._renderer, "ask", lambda request: answers.append(ask(request)) or answers[-1]
    )
    own = trl_template("qwen2_5_vl")
    extra = (
        "{%- if false %}{{ raise_exception('never') }}{% endif %}"
        "{%- set now = strftime_now('%Y') %}{%- set said = messages | tojson(indent=2) %}"
        "{%- set end = eos_token %}{%- for i in range(3) %}{% break %}{% endfor %}"
        "{%- generation %}{%- endgeneration %}"
    )
    (folder / "chat_template.jinja").write_text(extra + own)
    assert rendered(folder) == SYSTEM + IMAGE + ANSWER
    (answer,) = answers
    assert answer["text"].count("<|image_pad|>") == 8


@pytest.mark.slow
@pytest.mark.parametrize("value", ["{", "[]", "{}", '{"chat_template": [{"name": "default"}]}'])
def test_a_damaged_template_file_is_one_line(folder: Path, value: str) -> None:
    (folder / "chat_template.json").write_text(value)
    with pytest.raises(ModelError, match=r"chat_template\.json: ") as caught:
        load_processor(folder)
    assert "\n" not in str(caught.value)


def test_a_model_without_any_template_is_refused(folder: Path) -> None:
    (folder / "chat_template.json").unlink()
    change(folder / "tokenizer_config.json", chat_template=None)
    with pytest.raises(ModelError, match="no chat template; use an instruct checkpoint"):
        load_processor(folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def other_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:40] = b"\xff" * 32
    path.write_bytes(content)


def long_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def not_json(path: Path) -> None:
    path.write_text("{")


def not_an_object(path: Path) -> None:
    path.write_text("[1]")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(b"\x00\xff\xfe" * 50)


def other_values(path: Path) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps(dict.fromkeys(value, "x") | {"model_type": value.get("model_type")}))


JSON_DAMAGE = [not_json, not_an_object, nothing, noise, other_values]
DAMAGE = [
    *((FIRST, damage) for damage in (cut, other_header, long_header, nothing, noise)),
    *(
        (name, damage)
        for name in ("config.json", INDEX, "tokenizer.json")
        for damage in JSON_DAMAGE
    ),
    ("tokenizer_config.json", not_json),
    ("tokenizer_config.json", not_an_object),
    ("tokenizer_config.json", noise),
    ("preprocessor_config.json", not_json),
    ("preprocessor_config.json", not_an_object),
    ("preprocessor_config.json", other_values),
    ("generation_config.json", not_json),
    ("generation_config.json", not_an_object),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_file_is_one_line(
    folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(folder / name)
    before = torch.random.get_rng_state()
    with pytest.raises(ModelError) as caught:
        load_for_inference(resolve_model_folder(str(folder)), dtype=torch.float32)
        load_processor(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer_config.json", "preprocessor_config.json", FIRST],
)
def test_a_missing_file_is_one_line(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError) as caught:
        load_for_inference(resolve_model_folder(str(folder)), dtype=torch.float32)
        load_processor(folder)
    assert "\n" not in str(caught.value)


def test_an_image_processor_of_another_patch_is_refused(folder: Path) -> None:
    # Qwen3-VL's has 16 pixels, the others' 14: 3 colours of 2 frames.
    own, other = (16, 14) if is_qwen3(folder) else (14, 16)
    change(folder / "preprocessor_config.json", patch_size=other)
    numbers = rf"into 4 patches of {6 * other**2} values.* reads 4 of {6 * own**2}"
    with pytest.raises(ModelError, match=numbers):
        load_processor(folder)


def test_a_tokenizer_that_cannot_end_a_report_is_refused(folder: Path) -> None:
    change(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: names no eos_token"):
        load_processor(folder)


@pytest.mark.slow
def test_weights_that_lack_one_or_have_another_shape_are_refused(folder: Path) -> None:
    weights = load_file(folder / FIRST)
    (name,) = (key for key in weights if key.endswith("layers.0.self_attn.q_proj.weight"))
    save_file({k: v for k, v in weights.items() if k != name}, folder / FIRST)
    with pytest.raises(ModelError, match=r"the weights lack '.*q_proj.*' \(in all 1\)"):
        load_for_inference(folder, dtype=torch.float32)
    save_file(weights | {name: weights[name].repeat(2, *[1] * (weights[name].dim() - 1))},
              folder / FIRST)  # fmt: skip
    with pytest.raises(ModelError, match=r"weights"):
        load_for_inference(folder, dtype=torch.float32)


def test_a_configuration_that_asks_for_more_than_the_weights_hold_takes_no_memory(
    folder: Path,
) -> None:
    settings = json.loads((folder / "config.json").read_text())
    # Of a text layer, as published: in one flat mapping, but for Qwen3-VL's.
    settings.get("text_config", settings)["intermediate_size"] *= 10**9
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"asks for [\d,]+ parameters, more than the"):
        load_for_inference(folder, dtype=torch.float32)


@pytest.mark.slow
def test_a_checkpoint_is_read_by_the_shapes_of_the_model_at_hand(folder: Path) -> None:
    model = load_for_inference(folder, dtype=torch.float32)
    checkpoint = folder.parent / "checkpoint-1"
    model.save_pretrained(checkpoint)
    settings = json.loads((checkpoint / "config.json").read_text())
    settings["text_config"]["intermediate_size"] *= 10**9
    (checkpoint / "config.json").write_text(json.dumps(settings))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_checkpoint_weights(model, checkpoint)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_linear_attention_is_named_as_what_cannot_be_packed() -> None:
    for kind, before in (("qwen3_5", "Qwen3.5 model: "), ("qwen3_5_moe", "not 'qwen3_5_moe'; ")):
        reason = packed_family({**HYBRID, "model_type": kind})
        assert isinstance(reason, str)
        assert reason.endswith(f"{before}{LINEAR_ATTENTION}")
    unknown = packed_family({"model_type": "llava", "text_config": {"layer_types": None}})
    assert isinstance(unknown, str)
    assert "Qwen3-VL (qwen3_vl)" in unknown
    assert "Qwen3.5" not in unknown
    assert unknown.endswith("not 'llava'")


@pytest.mark.parametrize("template", ["qwen3_5_think", "qwen3_5_nothink"])
def test_a_model_that_can_think_is_asked_for_the_report_at_once(
    folder: Path, template: str
) -> None:
    (folder / "chat_template.jinja").write_text(trl_template(template))
    processor = load_processor(folder)
    side = processor.factor
    encoded = processor.assemble("1", PROMPT, [(side, side)], [None])
    text = processor.tokenizer.decode(encoded.input_ids_T.tolist())
    assert text.endswith("Look.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize("name", ["gemma3", "qwen2_5_vl", "llava_next"])
def test_a_template_is_not_told_what_it_does_not_ask_for(name: str) -> None:
    # transformers' processors take such a keyword for their own, and warn at each prompt.
    assert report_keywords(trl_template(name)) == {"add_generation_prompt": True}
    told = report_keywords(trl_template("qwen3_5_think"))
    assert told == {"add_generation_prompt": True, "enable_thinking": False}
