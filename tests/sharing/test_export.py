"""An exported model: plain transformers, and a server's way to a prompt, give the reports of
`editgrpo generate`."""

import base64
import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from editgrpo.config import DType
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError
from editgrpo.files import read_jsonl
from editgrpo.sharing.export import export_model
from editgrpo.sharing.lineage import Lineage, read_lineage
from editgrpo.sharing.serving import PromptSettings, chat_request
from editgrpo.training.generate import GenerationConfig, generate_predictions
from tests.sharing.conftest import TOKENS
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow


def generated(model: Path, tiny: Tiny, output: Path) -> list[str]:
    """Reports of `editgrpo generate` for the validation studies."""
    predictions = generate_predictions(
        model=str(model),
        data=tiny.data(),
        split=Split.VALIDATION,
        output=output,
        config=GenerationConfig(max_completion_tokens=TOKENS),
    )
    return [row["prediction"] for _, row in read_jsonl(predictions)]


class Server:
    """What a server does with a folder: OpenAI's messages to the folder's chat template, images to
    its image processor, and `generate` with its settings.

    vLLM 0.2x turns `image_url` parts into `{"type": "image"}` in their place, where a template
    takes a message's content for a list ("openai" format), and lets the processor expand them.
    """

    def __init__(self, folder: Path) -> None:
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
        assert not any(
            report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
        )
        self.model, self.folder = model.eval(), folder
        kind = model.config.model_type
        # transformers' processors of Qwen need torchvision for their videos.
        self.is_whole = kind == "gemma3" or find_spec("torchvision") is not None

    def inputs(self, messages: list[dict[str, Any]], images: list[Image.Image]) -> Any:
        """Encode a prompt by the folder's own processor, or by its two parts."""
        if self.is_whole:
            processor = AutoProcessor.from_pretrained(self.folder, trust_remote_code=False)
            text = processor.apply_chat_template(messages, add_generation_prompt=True)
            return processor(
                text=[text], images=images, return_tensors="pt", add_special_tokens=False
            )
        tokenizer = AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False)
        cut = AutoImageProcessor.from_pretrained(
            self.folder, backend="pil", trust_remote_code=False
        )
        pixels = cut(images=images, return_tensors="pt")
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for grid in pixels["image_grid_thw"]:
            count = int(grid.prod()) // cut.merge_size**2
            text = text.replace("<|image_pad|>", "<image>" * count, 1)
        encoded = tokenizer(text.replace("<image>", "<|image_pad|>"), return_tensors="pt")
        image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        kinds = (encoded["input_ids"] == image_token).int()
        return {**encoded, **pixels, "mm_token_type_ids": kinds}

    def report(self, body: dict[str, Any]) -> str:
        """Answer a request."""
        assert body["temperature"] == 0
        images: list[Image.Image] = []
        (message,) = body["messages"]
        parts = []
        for part in message["content"]:
            if part["type"] == "image_url":
                _, _, content = part["image_url"]["url"].partition("base64,")
                images.append(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
                part = {"type": "image"}
            parts.append(part)
        inputs = self.inputs([{"role": message["role"], "content": parts}], images)
        ids = self.model.generate(**inputs, max_new_tokens=body["max_tokens"])
        tokenizer = AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False)
        answer: str = tokenizer.decode(
            ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return answer.strip()


def exported(lineage: Lineage, folder: Path, **more: Any) -> Path:
    export_model(lineage, folder, card="# A card\n", **more)
    return folder


def check_reports(tiny: Tiny, folder: Path) -> None:
    """Compare a server's reports of an export with those of `editgrpo generate`."""
    out = exported(read_lineage(tiny.checkpoint), folder / "out")
    ours = generated(out, tiny, folder / "exported.jsonl")
    server = Server(out)
    studies = StudySet.load(tiny.studies, split=Split.VALIDATION)
    assert [server.report(chat_request(out, studies, study)) for study in studies] == ours
    assert all(len(report) > 20 for report in ours), "a model that says nothing proves nothing"
    # Rounded to bfloat16, it says what the run's model says.
    assert ours == generated(tiny.checkpoint, tiny, folder / "run.jsonl")


def test_a_served_model_writes_the_reports_of_generate(tuned: Tiny, tmp_path: Path) -> None:
    check_reports(tuned, tmp_path)


def test_a_served_model_with_merged_adapters_does_too(adapted: Tiny, tmp_path: Path) -> None:
    check_reports(adapted, tmp_path)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return found


def test_weights_keep_their_names_in_one_number_format(adapted: Tiny, tmp_path: Path) -> None:
    folder = exported(read_lineage(adapted.checkpoint), tmp_path / "out")
    before, after = weights_of(adapted.checkpoint), weights_of(folder)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name].dtype is torch.bfloat16
        assert torch.equal(after[name], value.to(torch.bfloat16)), name
    text = (folder / "config.json").read_text()
    assert '"float32"' not in text
    assert json.loads(text)["dtype"] == json.loads(text)["torch_dtype"] == "bfloat16"


def test_float32_can_be_asked_for(adapted: Tiny, tmp_path: Path) -> None:
    folder = exported(read_lineage(adapted.checkpoint), tmp_path / "out", dtype=DType.FLOAT32)
    before, after = weights_of(adapted.checkpoint), weights_of(folder)
    assert all(torch.equal(after[name], value.float()) for name, value in before.items())


def test_the_folder_holds_what_a_server_needs_and_nothing_of_the_run(
    tuned: Tiny, tmp_path: Path
) -> None:
    (tuned.checkpoint / "notes.jsonl").write_text("{}")
    try:
        folder = exported(read_lineage(tuned.checkpoint), tmp_path / "out")
    finally:
        (tuned.checkpoint / "notes.jsonl").unlink()
    names = {path.name for path in folder.iterdir()}
    assert {
        "README.md",
        "serve.md",
        "editgrpo.json",
        "prompt.jinja",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    } <= names
    assert "notes.jsonl" not in names
    assert (folder / "README.md").read_text() == "# A card\n"
    settings = PromptSettings.read(folder)
    assert (settings.max_images, settings.max_completion_tokens) == (6, TOKENS)
    page = (folder / "serve.md").read_text()
    assert "vllm serve out \\\n" in page
    assert '--limit-mm-per-prompt \'{"image": 6, "video": 0}\'' in page
    assert str(tmp_path) not in page
    # Three images of the invented study, in their places.
    request = json.loads(page.partition("```json\n")[2].partition("\n```")[0])
    kinds = [part["type"] for part in request["messages"][0]["content"]]
    assert kinds == ["text", "image_url"] * 3 + ["text"]
    assert "INDICATION: Cough and fever." in request["messages"][0]["content"][-1]["text"]


def test_the_server_has_room_for_the_longest_prompt(tuned: Tiny, tmp_path: Path) -> None:
    command = export_model(read_lineage(tuned.checkpoint), tmp_path / "out", card="")
    longest = int(command[command.index("--max-model-len") + 1])
    _, encoder = tuned.encoder(Split.VALIDATION)
    # Six images of at most 2 x 2 tokens (Gemma: 4 each), 1,024 words, the report: at the least.
    assert longest % 256 == 0
    assert longest >= 6 * 4 + 1024 + TOKENS
    assert longest < 6 * 4 + 1024 + TOKENS + 512
    assert encoder.max_images == 6


def test_the_runs_own_model_is_not_written_over(tuned: Tiny) -> None:
    with pytest.raises(ConfigError, match="is the run's own model"):
        export_model(read_lineage(tuned.checkpoint), tuned.checkpoint, card="")
