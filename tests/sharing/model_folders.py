"""Model folders, of files that nobody loads."""

from pathlib import Path

HEADER = """\
---
license: other
license_name: not-stated
tags:
- editgrpo
training_data:
{data}
---
# A model
"""


def write_model_folder(folder: Path, *data: str) -> Path:
    """Write a model folder with a card that names data sets, and what must stay beside it."""
    folder.mkdir(parents=True)
    content = {
        "README.md": HEADER.format(data="\n".join(f"- {name}" for name in data)),
        "config.json": "{}",
        "generation_config.json": "{}",
        "tokenizer.json": "{}",
        "model-00001-of-00002.safetensors": "first" * 100,
        "model-00002-of-00002.safetensors": "second" * 100,
        "model.safetensors.index.json": "{}",
        # Of a run, or of nobody.
        "rollouts.jsonl": "a report",
        "predictions.jsonl": "a report",
        "optimizer.pt": "state",
        "model.safetensors.bak": "old",
        "training_args.bin": "pickled",
        ".env": "HF_TOKEN=secret",
    }
    for name, text in content.items():
        (folder / name).write_text(text)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "model.safetensors").write_text("older")
    (folder / "vocab.json").symlink_to(folder / "rollouts.jsonl")
    return folder


GOES = [
    "README.md",
    "config.json",
    "generation_config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
]
"""What may leave that folder."""
