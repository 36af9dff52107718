"""Run folders by hand: records and a configuration, no weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from editgrpo.config import (
    DataConfig,
    EditConfig,
    LoraConfig,
    ModelConfig,
    RolloutConfig,
    SFTConfig,
    TrainConfig,
)
from editgrpo.data.study import Split, Study
from editgrpo.provenance import write_provenance
from editgrpo.training.run.inputs import set_hashes, template_hashes
from tests.builders import write_set

BASE = "Qwen/Qwen2.5-VL-3B-Instruct"


def write_studies(folder: Path, dataset: str = "folder", *, train: int = 3) -> Path:
    """Prepare studies without images, said to be of a data set."""
    studies = [
        Study(
            study_id=f"s{k}",
            patient_id=f"p{k}",
            split=Split.TEST if k == train else Split.TRAIN,
            images=(),
            findings=f"Secret finding {k}.",
        )
        for k in range(train + 1)
    ]
    write_set(folder, studies)
    path = folder / "prepared.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": dataset}))
    return folder


def write_run(config: SFTConfig | TrainConfig, *, model: str = "model") -> Path:
    """Write the records of a finished run."""
    run = Path(config.output)
    write_provenance(
        run,
        config=config,
        seed=config.seed,
        command="editgrpo run /home/somebody/secret",
        launch={"processes": 2, "sharding": "whole copies"},
    )
    inputs = {
        "data.folder": set_hashes(Path(config.data.folder)),
        "data.prompt_template": template_hashes(config.data.prompt_template),
    }
    (run / "inputs.json").write_text(json.dumps(inputs))
    (run / model).mkdir()
    (run / model / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    return run


def sft_run(folder: Path, studies: Path, **changes: Any) -> Path:
    """Write a run of SFT from a model of the Hub, with the model that RL starts from."""
    config = SFTConfig(
        model=ModelConfig(path=BASE, revision="a" * 40),
        data=DataConfig(folder=str(studies), train_limit=2),
        output=str(folder / "sft"),
    )
    run = write_run(replace(config, **changes), model="model-for-rl")
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    (run / "epochs.json").write_text('{"best": 2, "epochs": []}')
    return run


def rl_run(folder: Path, studies: Path, start: str, **changes: Any) -> Path:
    """Write a run of EditGRPO with adapters."""
    config = TrainConfig(
        model=ModelConfig(path=start, lora=LoraConfig(rank=8)),
        data=DataConfig(folder=str(studies), max_images=4),
        edit=EditConfig(annotator="rules"),
        rollout=RolloutConfig(max_completion_tokens=99),
        steps=7,
        seed=3,
        output=str(folder / "rl"),
    )
    return write_run(replace(config, **changes))
