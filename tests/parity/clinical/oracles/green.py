"""What RadEval's GREEN says: questions, answers of a checkpoint, and scores of given answers.

Request: `reports` (pairs reference, candidate), `answers` (texts to parse), and with `folder` also
the checkpoint's answers, of at most `max_tokens` with the question. `adds_bos` gives the tokenizer
back the beginning-of-sequence token that RadEval 2.2.1 loses with transformers 5.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType


def load_package() -> ModuleType:
    """Import the module of GREEN alone: the package's own `__init__` asks for every metric's
    libraries."""
    folder = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0]) / "radeval"
    for name, path in {
        "radeval": folder,
        "radeval.metrics": folder / "metrics",
        "radeval.metrics.green_score": folder / "metrics" / "green_score",
    }.items():
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    return importlib.import_module("radeval.metrics.green_score.green")


def main() -> None:
    request = json.load(sys.stdin)
    module = load_package()
    folder = request.get("folder")
    scorer = module.GREEN(folder, cpu=True)
    questions = [module.make_prompt(*pair) for pair in request["reports"]]
    cleaned = [
        module.clean_responses(f"[Explanation]:<|assistant|>{one}") for one in request["answers"]
    ]
    said: dict[str, object] = {
        "questions": questions,
        "scores": [scorer.compute_green(one) for one in cleaned],
        "counts": [scorer.compute_error_count(one) for one in cleaned],
    }
    if folder:
        scorer.max_length = request["max_tokens"]
        if request["adds_bos"]:
            scorer.tokenizer.add_bos_token = True
        said["generated"] = [scorer.get_response({"prompt": [one]})[0] for one in questions]
        chat = [{"from": "human", "value": questions[0]}, {"from": "gpt", "value": ""}]
        text = scorer.tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=True
        )
        said["token_ids"] = scorer.tokenizer(text)["input_ids"]
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
