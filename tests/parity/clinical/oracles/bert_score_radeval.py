"""Ask RadEval's copy of bert-score 0.3.13 for rescaled F1.

Request: {"model": name on the Hub, "folder": where it lies, "candidates": [...], "references":
[...], "idf_references": [...] or null, "batch_size": int}. Answer: {"f1": [...]}.
"""

import json
import sys

from from_folders import use_folders
from radeval.metrics.bertscore._vendor import BERTScorer, utils

request = json.load(sys.stdin)
use_folders(utils, {request["model"]: request["folder"]}, "AutoModel", "AutoTokenizer")
scorer = BERTScorer(
    model_type=request["model"],
    num_layers=5,
    lang="en",
    rescale_with_baseline=True,
    idf=request["idf_references"] is not None,
    idf_sents=request["idf_references"],
    device="cpu",
    nthreads=0,
)
size = request["batch_size"]
_, _, f1 = scorer.score(request["candidates"], request["references"], batch_size=size)
sys.stdout.write(json.dumps({"f1": f1.tolist()}) + "\n")
