"""Ask RadEval for Temporal F1, once with a model of entities that finds nothing and once with one
that calls every word an observation: whatever Stanza's model finds lies between the two.

Request: {"candidates": [...], "references": [...]}. Answer: {"nothing": {...}, "everything":
{...}}, each with "scores" and "words" (of the candidates, sorted).
"""

import json
import re
import sys
from types import ModuleType, SimpleNamespace

FOUND = re.compile(r"\w+")
is_blind = True


class Pipeline:
    """Stands in for Stanza's pipeline, whose weights nobody has here."""

    def __init__(self, **_):
        pass

    def __call__(self, text):
        words = [] if is_blind else FOUND.findall(text)
        return SimpleNamespace(
            entities=[SimpleNamespace(text=word, type="OBSERVATION") for word in words]
        )


stanza = ModuleType("stanza")
stanza.Pipeline = Pipeline
sys.modules["stanza"] = stanza

from radeval.metrics.f1temporal import f1temporal  # noqa: E402

request = json.load(sys.stdin)
answer = {}
for name, is_blind in (("nothing", True), ("everything", False)):  # noqa: B007
    result = f1temporal.F1Temporal(
        predictions=request["candidates"], references=request["references"]
    )
    answer[name] = {
        "scores": result["sample_scores"],
        "words": [sorted(words) for words in result["prediction_entities"]],
    }
sys.stdout.write(json.dumps(answer) + "\n")
