"""RadGraph by the package `radgraph` or by the copy of it inside RadEval.

Request: `package` (`radgraph` or `radeval`), `model_type`, `models` (folder with a sub-folder of
extracted files for each model type) and any of
- `words`: reports, asks for the words of each, joined by spaces;
- `reports`: asks for the annotations of each report, one at a time, with the raw scores;
- `pairs`: [candidate, reference] pairs, asks for the three rewards of F1RadGraph;
- `rexrank`: pairs, asks for RadEval's radgraph_radcliq.
A report or call that makes the package raise is answered by {"error": name of the exception}.
"""

import json
import sys
import types
from importlib import import_module, util
from pathlib import Path
from typing import Any


def load_package(name: str) -> tuple[Any, Any]:
    """Return the module with RadGraph and F1RadGraph, and RadEval's module for RadCliQ or None."""
    if name == "radgraph":
        return import_module("radgraph.radgraph"), None
    # RadEval 2.2.1 calls itself `radeval` but imports itself as `RadEval` in these modules.
    spec = util.find_spec("radeval")
    assert spec is not None and spec.origin is not None
    alias = types.ModuleType("RadEval")
    alias.__path__ = [str(Path(spec.origin).parent)]
    sys.modules["RadEval"] = alias
    core = import_module("RadEval.metrics.radgraph._vendor.core")
    return core, import_module("RadEval.metrics.radgraph_radcliq.radgraph_radcliq")


def scored(radgraph: Any, report: str) -> dict[str, Any]:
    """Return what the package says of one report, and its raw scores."""
    try:
        outputs: list[dict[str, Any]] = []
        handle = radgraph.model.register_forward_hook(lambda *args: outputs.append(args[-1]))
        annotation = radgraph([report])["0"]
        handle.remove()
    except Exception as error:
        return {"error": type(error).__name__}
    entities, relations = ([*outputs[0][part]["predictions"][0]] for part in ("ner", "relation"))
    return {
        "annotation": annotation,
        "entity_scores": [[*found.span.span_sent, found.raw_score] for found in entities],
        "relation_scores": [
            [*found.pair[0].span_sent, *found.pair[1].span_sent, found.raw_score]
            for found in relations
        ],
    }


def called(scorer: Any, pairs: list[list[str]]) -> Any:
    """Return the scores of pairs, called with all of them at once."""
    candidates, references = ([pair[side] for pair in pairs] for side in (0, 1))
    try:
        return scorer(hyps=candidates, refs=references)[1]
    except Exception as error:
        return {"error": type(error).__name__}


def main() -> None:
    request = json.load(sys.stdin)
    package, radcliq = load_package(request["package"])
    arguments = {
        "model_type": request["model_type"],
        "model_cache_dir": request["models"],
        "cuda": -1,
    }
    answer: dict[str, Any] = {}
    if "words" in request:
        split = import_module(f"{package.__name__.rpartition('.')[0]}.utils").preprocess_reports
        found = split(request["words"], request["model_type"])
        answer["words"] = [" ".join(each["sentences"][0]) for each in found]
    if "reports" in request:
        radgraph = package.RadGraph(**arguments)
        answer["reports"] = [scored(radgraph, report) for report in request["reports"]]
    if "pairs" in request:
        f1 = package.F1RadGraph(reward_level="all", **arguments)
        answer["pairs"] = called(f1, request["pairs"])
    if "rexrank" in request:
        scorer = radcliq.RadGraphRadCliQ.__new__(radcliq.RadGraphRadCliQ)
        scorer._radgraph = package.RadGraph(**arguments)
        answer["rexrank"] = called(scorer, request["rexrank"])
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


main()
