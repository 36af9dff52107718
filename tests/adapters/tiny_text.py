"""A small text model that has seen short reports for a few seconds, and what TRL needs to train it.

The prompt names the study; the report is two sentences of our own.
"""

from pathlib import Path
from typing import Any

import datasets
import torch
from trl import GRPOConfig, GRPOTrainer

from editgrpo.training.policy.tiny import train_tokenizer

SENTENCES = (
    ("The heart is enlarged.", "The heart size is normal."),
    ("There is a left pleural effusion.", "There is no pleural effusion."),
    ("There is a right pneumothorax.", "No pneumothorax."),
)
STUDIES = {
    f"Study {k}:": f"{SENTENCES[k % 3][k // 3 % 2]} {SENTENCES[(k + 1) % 3][k % 2]}"
    for k in range(6)
}
GROUP = 4
MAX_TOKENS = 24


def build_tokenizer() -> Any:
    """Train a byte-level tokenizer on prompts and reports."""
    texts = [f"{prompt} {report}" for prompt, report in STUDIES.items()]
    return train_tokenizer(texts * 4, 360)


def build_model(tokenizer: Any) -> Any:
    """Build a small Qwen2 and show it the reports of other studies than those asked for.

    It then writes reports that end, and that are wrong often enough to be edited.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        prompts, reports = list(STUDIES), list(STUDIES.values())
        for step in range(60):
            texts = [
                f"{prompt}{reports[(k + step) % len(reports)]}<|im_end|>"
                for k, prompt in enumerate(prompts)
            ]
            batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
            labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
            model(**batch, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model


class RecordingTrainer(GRPOTrainer):  # type: ignore[misc]
    """Stock trainer that keeps the inputs of each loss, and the policy's log-probabilities."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.seen: list[dict[str, Any]] = []
        super().__init__(*arguments, **settings)

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        count = inputs["completion_ids"].shape[1]
        with torch.no_grad():
            current = self._get_per_token_logps_and_entropies(model, ids, mask, count)[0]
        self.seen.append({**inputs, "current": current, "step": self.state.global_step})
        return super()._compute_loss(model, inputs)


def make_trainer(folder: Path, model: Any, tokenizer: Any, **settings: Any) -> RecordingTrainer:
    """Make a stock trainer of two steps with two whole groups each."""
    passed = {name: settings.pop(name) for name in ("reward_funcs", "rollout_func")}
    rows = {"prompt": list(STUDIES), "findings": list(STUDIES.values())}
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 2 * GROUP,
        "num_generations": GROUP,
        "max_completion_length": MAX_TOKENS,
        "learning_rate": 1e-3,
        "beta": 0.0,
        "scale_rewards": "none",
        "loss_type": "dr_grpo",
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **settings,
    }
    return RecordingTrainer(
        model=model,
        args=GRPOConfig(**arguments),
        train_dataset=datasets.Dataset.from_dict(rows),
        processing_class=tokenizer,
        **passed,
    )
