"""What RaTEScore says: 0.5.0, 0.6.0, or RadEval's copy, whichever stands first on the path.

Request: `texts` to split; `label_rows` (labels of tokens) with `token_rows`, to decode; and with
the folders `ner` and `biolord` also `reports`, read one by one; `pairs` (candidate, reference),
scored one by one; `batch`, pairs scored in one call. From 0.6.0 on, `matrix` is long or short.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def load_package() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Import the modules scorer, score and utils; of RadEval no others, they ask for more
    libraries."""
    folder = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])
    package = "RaTEScore"
    if (folder / "radeval").is_dir():
        package = "radeval.metrics.RaTEScore"
        names = package.split(".")
        for depth in range(1, len(names) + 1):
            module = ModuleType(".".join(names[:depth]))
            module.__path__ = [str(folder.joinpath(*names[:depth]))]
            sys.modules[module.__name__] = module
    scorer, score, utils = (
        importlib.import_module(f"{package}.{name}") for name in ("scorer", "score", "utils")
    )
    importlib.import_module("loguru").logger.disable("PyRuSH")
    return scorer, score, utils


def attempt(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or how it fails."""
    try:
        return call()
    except (RuntimeError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def describe(scorer: Any, score: ModuleType, text: str) -> dict[str, Any]:
    """Read one report."""

    def entities() -> list[Any]:
        found = score.run_ner(
            [text], scorer.idx2label, scorer.tokenizer, scorer.model, scorer.device, 1
        )
        return found[0]

    found = attempt(entities)
    embeddings = []
    if isinstance(found, list):
        vectors, _ = score.process_embedding(
            found, scorer.eval_tokenizer, scorer.eval_model, scorer.device
        )
        embeddings = vectors.tolist()
    return {"entities": found, "embeddings": embeddings}


class Joiner:
    """Joins tokens visibly, in place of a tokenizer."""

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return " ".join(tokens)


def main() -> None:
    request = json.load(sys.stdin)
    scorer_module, score, utils = load_package()
    said: dict[str, Any] = {}
    rules = utils.nlp.get_pipe("medspacy_pyrush").rush.fastner.rule_store.values()
    said["rules"] = [[one.rule, one.rule_name, one.score, one.type] for one in rules]
    said["decoded"] = [
        utils.post_process(tokens, labels, Joiner())
        for tokens, labels in zip(
            request.get("token_rows", []), request.get("label_rows", []), strict=True
        )
    ]
    said["sentences"] = [
        [str(sentence).strip() for sentence in utils.nlp(text).sents] for text in request["texts"]
    ]
    if "ner" in request:
        choice = {"affinity_matrix": request["matrix"]} if "matrix" in request else {}
        scorer = scorer_module.RaTEScore(
            bert_model=request["ner"], eval_model=request["biolord"], use_gpu=False, **choice
        )

        def scored(pairs: list[list[str]]) -> Any:
            values = scorer.compute_score([one for one, _ in pairs], [two for _, two in pairs])
            return values[0] if isinstance(values, tuple) else values  # RadEval: with the entities

        said["reports"] = [describe(scorer, score, text) for text in request["reports"]]
        said["scores"] = [attempt(lambda pair=pair: scored([pair])) for pair in request["pairs"]]
        said["batch"] = attempt(lambda: scored(request["batch"]))
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
