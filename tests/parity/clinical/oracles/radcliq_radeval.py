"""Ask RadEval for RadCliQ-v1 and its parts, RadGraph's values given.

Request: {"chexbert": folder, "distilroberta": folder, "candidates": [...], "references": [...],
"radgraph": [...]}. Answer: {"parts": {...}, "per_sample": [...], "aggregate": float}.
"""

import json
import sys

from from_folders import use_chexbert, use_folders
from radeval.metrics.bertscore._vendor import utils
from radeval.metrics.f1chexbert import f1chexbert
from radeval.metrics.RadCliQv1 import radcliq


class NoRadGraph:
    """Finds nothing; the request's values take its place below."""

    def __init__(self, **_):
        pass

    def __call__(self, texts):
        return {}


request = json.load(sys.stdin)
use_chexbert(f1chexbert, request["chexbert"])
use_folders(utils, {"distilroberta-base": request["distilroberta"]}, "AutoModel", "AutoTokenizer")
radcliq.RadGraph = NoRadGraph
metric = radcliq.CompositeMetric()
parts = metric._compute_sub_metrics(request["references"], request["candidates"])
parts["radgraph"] = request["radgraph"]
metric._compute_sub_metrics = lambda *_: parts
aggregate, per_sample = metric.predict(request["references"], request["candidates"])
answer = {
    "parts": {name: [float(value) for value in values] for name, values in parts.items()},
    "per_sample": per_sample.tolist(),
    "aggregate": float(aggregate),
}
sys.stdout.write(json.dumps(answer) + "\n")
