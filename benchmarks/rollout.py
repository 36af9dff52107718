"""Time the sampling of K responses a prompt: ours, transformers' `generate`, and our former scheme.

    .venv/bin/python -m benchmarks.rollout [--prompts 4] [--samples 5] [--tokens 60] [--repeats 3]

A small Qwen2.5-VL with random weights, prompts of three images and about 540 tokens, 60 new tokens
a response: the end token is forbidden, so that all sides do the same work.

- `generate`: with `num_return_sequences`, which is what TRL calls: every prompt is computed K
  times, and each row has its own copy of the prompt's keys and values.
- `former`: what we did before: prompts padded to the longest and computed once, then their keys and
  values copied K times and grown by a copy at every token.
- `ours`: `sample_responses`; `compiled`: with compiled decoding steps, compiled beforehand.

Each side has processes of its own, one for each repeat in turn, and each is warmed up before the
clock starts. The likeliest tokens of all sides must be the same. `first_s` is the time until the
first token of every response. A table is printed, then, as the last line, one JSON object.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2VLImageProcessorPil

from benchmarks.children import measured_by_child
from benchmarks.memory import forget_peak_memory, peak_memory_mib, resident_memory_mib
from benchmarks.workload import SHAPE, THREADS, Case, draw_group, environment
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.positions import prompt_positions
from editgrpo.training.policy.processor import EncodedPrompt, StudyProcessor, join_images
from editgrpo.training.policy.tiny import build_tiny_model, train_tokenizer
from editgrpo.training.sampling.rollouts import sample_responses

SIDES = ("generate", "former", "ours", "compiled")
_WORDS = 2000  # numbers spelled out: text enough to learn the vocabulary from


def main() -> None:
    """Run every side in processes of its own, or one of them in this one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help="measure only this one, here")
    arguments = parser.parse_args()
    size = (arguments.prompts, arguments.samples, arguments.tokens)
    if arguments.side is not None:
        print(json.dumps(measure(arguments.side, *size)))
        return
    names = ("--prompts", "--samples", "--tokens")
    words = [word for name, value in zip(names, size, strict=True) for word in (name, str(value))]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(arguments.repeats):
        for side in SIDES:
            runs[side].append(measured_by_child("benchmarks.rollout", "--side", side, *words))
    if len({json.dumps(run["likeliest"]) for side in SIDES for run in runs[side]}) != 1:
        sys.exit("the sides disagree about the likeliest tokens")
    sides = {side: summary(runs[side]) for side in SIDES}
    print(table(sides))
    print(json.dumps(result(sides, size, arguments.repeats)))


def measure(side: str, prompts: int, samples: int, tokens: int) -> dict[str, Any]:
    """Measure one side in this process.

    Args:
        side: Which.
        prompts: Prompts sampled together.
        samples: Responses of each.
        tokens: Tokens of each response.

    Returns:
        The likeliest tokens of each prompt; seconds of the whole and of the first token; tokens
        sampled a second; memory before and the most, in MiB.
    """
    torch.set_num_threads(THREADS)
    tokenizer = train_tokenizer(map(str, range(_WORDS)), SHAPE.vocabulary)
    model = varied(build_tiny_model(tokenizer, SHAPE, seed=0).eval())
    processor = StudyProcessor(tokenizer, Qwen2VLImageProcessorPil(patch_size=SHAPE.patch_size))
    drawn = [
        draw_group(Case(prompt=Case().prompt - 4 * k), processor).prompt for k in range(prompts)
    ]
    sampler = {"generate": Generate, "former": Former, "ours": Ours, "compiled": Compiled}[side](
        model, drawn
    )
    before = resident_memory_mib()
    forget_peak_memory()
    likeliest = sampler(samples, tokens, 0.0)  # warms up, too
    first_s, _ = timed(lambda: sampler(samples, 1, 1.0))
    seconds, sampled = timed(lambda: sampler(samples, tokens, 1.0))
    count = sum(len(row) for group in sampled for row in group)
    if count != prompts * samples * tokens:
        sys.exit(f"{side}: {count} tokens sampled, not {prompts * samples * tokens}")
    return {
        "likeliest": [group[0] for group in likeliest],
        "seconds": seconds,
        "first_s": first_s,
        "tokens_per_s": count / seconds,
        "before_mib": before,
        "peak_mib": peak_memory_mib(),
    }


def varied(model: Any) -> Any:
    """Let a model with random weights say more than one token again and again: make its layers look
    at their input, and give it a head that is not its embedding."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.model.language_model.layers.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3)
    weight = torch.randn(model.lm_head.weight.shape, generator=generator) / SHAPE.hidden_size**0.5
    model.lm_head.weight = torch.nn.Parameter(weight)
    return model


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds a call took, and what it returned."""
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


class Ours:
    """`sample_responses`."""

    compiled = False

    def __init__(self, model: Any, prompts: Sequence[EncodedPrompt]) -> None:
        self._model, self._prompts = model, prompts

    def __call__(self, samples: int, tokens: int, temperature: float) -> list[list[list[int]]]:
        """Sample responses of exactly so many tokens."""
        generator = torch.Generator().manual_seed(0)
        shape = (len(self._prompts), samples, tokens)
        uniforms = torch.rand(shape, generator=generator, dtype=torch.float64)
        settings = SamplingSettings(
            max_tokens=tokens,
            eos_token_ids=(),
            pad_token_id=0,
            temperature=temperature,
            forbidden_token_ids=(self._model.generation_config.eos_token_id,),
        )
        return sample_responses(
            self._model, self._prompts, uniforms, settings, compiled=self.compiled
        )


class Compiled(Ours):
    """The same with compiled decoding steps."""

    compiled = True


class Generate:
    """transformers' `generate`."""

    def __init__(self, model: Any, prompts: Sequence[EncodedPrompt]) -> None:
        self._model = model
        self._inputs = {**left_padded(model, prompts), **join_images(prompts)}
        self._inputs["mm_token_type_ids"] = (
            self._inputs["input_ids"] == model.config.image_token_id
        ).int()
        del self._inputs["position_ids"]  # it places them itself

    def __call__(self, samples: int, tokens: int, temperature: float) -> list[list[list[int]]]:
        """Sample responses of exactly so many tokens."""
        how: dict[str, Any] = {"do_sample": False, "num_beams": 1}
        rows = 1  # `generate` refuses to return the likeliest tokens several times
        if temperature:
            how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
            rows = how["num_return_sequences"] = samples
        generated = self._model.generate(
            **self._inputs, min_new_tokens=tokens, max_new_tokens=tokens, **how
        )
        answers = generated[:, self._inputs["input_ids"].shape[1] :].tolist()
        return [answers[k : k + rows] for k in range(0, len(answers), rows)]


class Former:
    """Padded prompts computed once, their cache copied for each row."""

    def __init__(self, model: Any, prompts: Sequence[EncodedPrompt]) -> None:
        self._model = model
        self._inputs = {**left_padded(model, prompts), **join_images(prompts)}

    @torch.no_grad()
    def __call__(self, samples: int, tokens: int, temperature: float) -> list[list[list[int]]]:
        """Sample responses of exactly so many tokens."""
        outputs = self._model(
            **self._inputs, past_key_values=DynamicCache(), use_cache=True, logits_to_keep=1
        )
        cache = outputs.past_key_values
        cache.batch_repeat_interleave(samples)
        logits = outputs.logits[:, -1].repeat_interleave(samples, dim=0)
        mask = self._inputs["attention_mask"].repeat_interleave(samples, dim=0)
        position = self._inputs["position_ids"].amax(dim=(0, 2)).repeat_interleave(samples)
        drawn = [self._draw(logits, temperature)]
        while len(drawn) < tokens:
            mask = torch.cat([mask, mask.new_ones(mask.shape[0], 1)], dim=1)
            position = position + 1
            outputs = self._model(
                input_ids=drawn[-1][:, None],
                attention_mask=mask,
                position_ids=position[None, :, None].expand(3, -1, 1),
                past_key_values=cache,
                use_cache=True,
            )
            drawn.append(self._draw(outputs.logits[:, -1], temperature))
        return torch.stack(drawn, dim=1).unflatten(0, (-1, samples)).tolist()

    def _draw(self, logits_BV: Tensor, temperature: float) -> Tensor:
        logits_BV[:, self._model.generation_config.eos_token_id] = float("-inf")
        if temperature == 0:
            return logits_BV.argmax(dim=-1)
        cumulative_BV = (logits_BV.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
        targets_B1 = torch.rand(logits_BV.shape[0], 1, dtype=torch.float64)
        return torch.searchsorted(cumulative_BV, targets_B1)[:, 0].clamp(max=logits_BV.shape[1] - 1)


def left_padded(model: Any, prompts: Sequence[EncodedPrompt]) -> dict[str, Tensor]:
    """Pad prompts on the left, as `generate` wants them, with their positions."""
    longest = max(len(prompt.input_ids_T) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    positions = torch.zeros(3, len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        padding = longest - len(prompt.input_ids_T)
        ids[row, padding:] = prompt.input_ids_T
        mask[row, padding:] = 1
        positions[:, row, padding:] = prompt_positions(model, prompt)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


def summary(runs: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the medians of a side's measurements."""
    runs = list(runs)
    middle = {
        name: round(median(run[name] for run in runs), 3)
        for name in ("seconds", "first_s", "tokens_per_s", "before_mib", "peak_mib")
    }
    growth = median(run["peak_mib"] - run["before_mib"] for run in runs)
    return {**middle, "growth_mib": growth, "fastest_s": min(run["seconds"] for run in runs)}


def table(sides: Mapping[str, Mapping[str, float]]) -> str:
    """Lay the sides out for a terminal or a page."""
    rows = ["| side | s | first token, s | tokens/s | memory added, MiB |", "|---|---|---|---|---|"]
    rows += [
        f"| {name} | {side['seconds']:.2f} | {side['first_s']:.2f} | {side['tokens_per_s']:.0f} "
        f"| {side['growth_mib']:.0f} |"
        for name, side in sides.items()
    ]
    return "\n".join(rows)


def result(
    sides: Mapping[str, Mapping[str, float]], size: tuple[int, int, int], repeats: int
) -> dict[str, Any]:
    """Return what is printed last: how much faster all are, and what was measured with what."""
    return {
        # How often each is as fast as `generate`.
        "ratios": {
            f"rollout_{name}": round(sides["generate"]["seconds"] / side["seconds"], 2)
            for name, side in sides.items()
            if name != "generate"
        },
        "sides": sides,
        "prompt_tokens": Case().prompt,
        **dict(zip(("prompts", "samples", "new_tokens"), size, strict=True)),
        "repeats": repeats,
        "model": {"architecture": "Qwen2.5-VL, random weights, float32", **asdict(SHAPE)},
        **environment(),
    }


if __name__ == "__main__":
    main()
