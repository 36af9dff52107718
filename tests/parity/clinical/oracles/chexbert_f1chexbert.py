"""Ask f1chexbert 0.0.2 for labels, and for the scores that it cannot give any more.

Request: {"folder": a model folder, "texts": [...], "candidates": [...], "references": [...]}.
Answer: {"classes": ..., "labels": ..., "forward_error": how scoring ended, or null}.
"""

import json
import sys

import f1chexbert.f1chexbert as package
import torch
from from_folders import use_folders

request = json.load(sys.stdin)
folder = request["folder"]
use_folders(package, {"bert-base-uncased": f"{folder}/tokenizer"}, "AutoConfig", "BertTokenizer")
package.CACHE_DIR = folder  # holds chexbert.pth, so that nothing is downloaded

scorer = package.F1CheXbert(device="cpu")
with torch.no_grad():
    labels = [scorer.get_label(text) for text in request["texts"]]
    # "classification" gives "" (blank), 1, 0 (negative) and -1 (uncertain).
    code = {"": 0, 1: 1, 0: 2, -1: 3}
    classes = [
        [code[label] for label in scorer.get_label(text, mode="classification")]
        for text in request["texts"]
    ]
    try:
        scorer(request["candidates"], request["references"])
        error = None
    except ValueError as raised:
        error = str(raised)
sys.stdout.write(json.dumps({"classes": classes, "labels": labels, "forward_error": error}) + "\n")
