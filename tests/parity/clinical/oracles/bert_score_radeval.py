"""Ask RadEval's copy of bert-score 0.3.13 for rescaled F1.

Request: {"candidates": [...], "references": [...], "runs": [{"model": name on the Hub, "folder":
where it lies, "idf_references": [...] or null, "batch_size": int}, ...]}. Answer: {"f1": [a list
for each run]}.
"""

import json
import sys

from from_folders import use_folders
from radeval.metrics.bertscore._vendor import BERTScorer, utils

request = json.load(sys.stdin)
folders = {run["model"]: run["folder"] for run in request["runs"]}
use_folders(utils, folders, "AutoModel", "AutoTokenizer")


def score(run):
    scorer = BERTScorer(
        model_type=run["model"],
        num_layers=5,
        lang="en",
        rescale_with_baseline=True,
        idf=run["idf_references"] is not None,
        idf_sents=run["idf_references"],
        device="cpu",
        nthreads=0,
    )
    pairs = request["candidates"], request["references"]
    _, _, f1 = scorer.score(*pairs, batch_size=run["batch_size"])
    return f1.tolist()


sys.stdout.write(json.dumps({"f1": [score(run) for run in request["runs"]]}) + "\n")
