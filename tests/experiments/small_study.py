"""A study small enough for a test: an untrained model, forty patients, arms of two steps."""

from pathlib import Path

from editgrpo.recipes.yaml_core import dump_yaml

STAGE = "small"
TABLE = "two-arms"
_CORPUS = {"profile": "demo-a", "studies": 40, "seed": 1, "shares": [0.8, 0.2, 0.0]}
_TEST = {"profile": "demo-a", "studies": 12, "seed": 2, "shares": [0.0, 0.0, 1.0]}
_OTHER = {**_TEST, "profile": "demo-b"}


def write_study(folder: Path, base: Path, *, rl_steps: int = 2) -> Path:
    """Write arms, a stage and a table into a folder, and return it."""
    batch = {"batch_size": 8, "micro_batch_size": 8, "max_completion_tokens": 16}
    stage = {
        "base": str(base),
        "corpora": {"own": _CORPUS, "own-test": _TEST, "other-test": _OTHER},
        "sft_corpus": "own",
        "rl_corpus": "own",
        "test_sets": {"in-domain": "own-test", "out-of-domain": "other-test"},
        "rare_findings": ["Fracture"],
        "sft": {**batch, "max_steps": 2, "epochs": 1, "optim": {"warmup_steps": 0}},
        "rl": {
            "steps": rl_steps,
            "prompts_per_step": 2,
            "save_every": 1,
            "rollout": {"group_size": 4, "max_completion_tokens": 16},
            "optim": {"warmup_steps": 0},
        },
        "gate": {"samples": 5, "balanced_studies": 60, "site_studies": 20, "groups": 4},
    }
    arms = {
        "sft": {"title": "SFT", "method": "sft", "start": "base", "data": "sft"},
        "dr-grpo": {
            "title": "Dr. GRPO",
            "method": "rl",
            "settings": {"edit": {"level": "none"}},
        },
        "editgrpo": {"title": "EditGRPO", "method": "rl"},
    }
    table = {
        "title": "Two arms",
        "stages": [STAGE],
        "arms": ["dr-grpo", "editgrpo"],
        "pairs": [["editgrpo", "dr-grpo"]],
    }
    for path, value in {
        "arms.yaml": arms,
        f"stages/{STAGE}.yaml": stage,
        f"tables/{TABLE}.yaml": table,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(dump_yaml(value), encoding="utf-8")
    return folder
