"""Ask RadEval for CheXbert's labels, embeddings, corpus scores and "per-sample" scores.

Request: {"folder": a model folder, "texts": [...], "candidates": [...], "references": [...]}.
Answer: {"labels": ..., "embeddings": ..., "corpus": {...}, "per_sample": {...}}.
"""

import json
import sys

from from_folders import use_chexbert
from radeval.metrics.f1chexbert import f1chexbert as module
from radeval.metrics.f1chexbert.adapter import F1CheXbertMetric

request = json.load(sys.stdin)
use_chexbert(module, request["folder"])
metric = F1CheXbertMetric.__new__(F1CheXbertMetric)  # its own constructor asks for a GPU
metric._scorer = module.F1CheXbert(device="cpu", batch_size=4)
pair = request["references"], request["candidates"]
answer = {
    "labels": metric._scorer.get_labels(request["texts"]),
    "embeddings": [row.tolist() for row in metric._scorer.get_embeddings(request["texts"])],
    "corpus": metric.compute(*pair, detailed=True),
    "per_sample": metric.compute(*pair, per_sample=True),
}
sys.stdout.write(json.dumps(answer) + "\n")
