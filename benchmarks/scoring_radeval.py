"""The reference side of `scoring.py`: RadEval's own reward functions on the same pairs.

Runs by itself in the environment of the reference packages, with RadEval's folder on PYTHONPATH and
the weights where RadEval looks for them (a Hub cache and its own cache folders). Reads one JSON
object on standard input, writes one as the last line of standard output.
"""

import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nltk
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.memory import peak_gpu_memory_mib, peak_memory_mib

KEYS = {
    "rate": ("ratescore", None),
    "radgraph": ("radgraph", "radgraph_partial"),
    # RadEval gives no F1 of a single report; label accuracy costs it the same.
    "chexbert": ("f1chexbert", "f1chexbert_sample_acc_all"),
}


def main() -> None:
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    nltk.download = lambda *_, **__: True  # RadEval fetches a sentence splitter on import
    rewards = load_rewards()
    warm_up = request["warm_up"]
    seconds, values, checks = {}, {}, {}
    for name, reward in rewards.items():
        reward(completions=warm_up, ground_truth=warm_up[::-1])
        started = time.perf_counter()
        values[name] = reward(completions=request["candidates"], ground_truth=request["references"])
        seconds[name] = time.perf_counter() - started
        checks[name] = reward(completions=request["check"][0], ground_truth=request["check"][1])
        print(f"radeval {name}: {seconds[name]:.1f} s", file=sys.stderr, flush=True)
    answer = {
        "seconds": seconds,
        "values": values,
        "checks": checks,
        "peak_memory_mib": peak_memory_mib(),
        "peak_gpu_memory_mib": peak_gpu_memory_mib(),
        "versions": {
            name: version(name) for name in ("radeval", "torch", "transformers", "medspacy")
        },
    }
    print(json.dumps(answer))


def load_rewards() -> dict[str, Callable[..., list[float]]]:
    """Load the three reward functions; on a machine without a GPU CheXbert must be told so."""
    from radeval.metrics.f1chexbert.f1chexbert import F1CheXbert
    from radeval.rewards import make_reward_fn

    defaults = F1CheXbert.__init__.__kwdefaults__
    assert inspect.isfunction(F1CheXbert.__init__) and defaults is not None
    defaults["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    return {name: make_reward_fn(metric, key=key) for name, (metric, key) in KEYS.items()}


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
