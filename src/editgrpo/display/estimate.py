"""An estimate of memory and time as text."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from editgrpo.config import AttentionKernel, RolloutEngine
from editgrpo.training.estimate.changes import Change
from editgrpo.training.estimate.estimate import Estimate, Fit
from editgrpo.training.estimate.gpus import GPUS
from editgrpo.training.estimate.memory import GIB
from editgrpo.training.estimate.phases import Stage
from editgrpo.training.estimate.speed import FAST, SLOW
from editgrpo.training.estimate.spread import Launch

_WIDTH = 100
_VERDICTS = {
    Fit.FITS: "it fits",
    Fit.TIGHT: "it is tight: less than a tenth is left for what the allocator loses to fragments",
    Fit.TOO_LARGE: "it does not fit",
}


def estimate_lines(found: Estimate, changes: Sequence[Change]) -> list[str]:
    """Lay an estimate out.

    Args:
        found: The estimate.
        changes: What may be set otherwise.

    Returns:
        Lines of text.
    """
    return [
        *_model_lines(found),
        "",
        *_memory_lines(found),
        *_change_lines(changes),
        "",
        *_seconds_lines(found),
        "",
        *(line for note in _notes(found) for line in textwrap.wrap(note, _WIDTH)),
    ]


def _model_lines(found: Estimate) -> Iterator[str]:
    model, path = found.model, found.config.model.path
    total, trained = _count(model.shape.parameters), _count(found.trained)
    yield f"{model.name}: {total} parameters, {trained} of them trained"
    if model.name != path:
        yield f"({path} is not there yet; this is what it is made from)"
    work, spread = found.work, found.setup.spread
    where = "one GPU" if spread.gpus == 1 else f"each of {spread.gpus} GPUs ({spread.launch.value})"
    yield (
        f"A step on {where}: {work.prompts} prompts of {work.prompt:,} tokens "
        f"({work.images:g} images), {work.group} responses each, {work.sampled} of them sampled"
    )


def _count(parameters: int) -> str:
    if parameters < 10**9:
        return f"{parameters / 1e6:.1f} million"
    return f"{parameters / 1e9:.2f} billion"


def _memory_lines(found: Estimate) -> Iterator[str]:
    rows = [(part.name, part.rollout, part.update) for part in found.parts]
    rows.append(("sum", found.rollout_bytes, found.update_bytes))
    width = max(len(name) for name, *_ in rows)
    yield f"{'GiB':{width}}  rollout  update"
    for name, rollout, update in rows:
        yield f"{name:{width}}  {_gib(rollout):>7}  {_gib(update):>6}"
    gpu = found.setup.gpu
    if gpu is not None and found.fit is not None:
        yield f"{gpu.name} has {gpu.memory / GIB:.1f} GiB: {_VERDICTS[found.fit]}."


def _gib(size: float) -> str:
    if not size:
        return "-"
    gib = size / GIB
    return f"{gib:.1f}" if gib >= 0.05 else "<0.1"


def _change_lines(changes: Sequence[Change]) -> Iterator[str]:
    if not changes:
        return
    yield ""
    yield "What takes less, the peak with it, and what it costs:"
    width = max(len(change.words) for change in changes)
    for change in changes:
        peak = f"{change.peak_bytes / GIB:5.1f} GiB"
        fits = ", does not fit" if change.fit is Fit.TOO_LARGE else ""
        yield f"  {change.words:{width}}  {peak}{fits}  ({change.price})"


def _seconds_lines(found: Estimate) -> Iterator[str]:
    gpu = found.setup.gpu
    if gpu is None:
        yield f"Name a GPU for its memory and for seconds: --gpu {', '.join(GPUS)}"
        return
    if not found.has_seconds:
        yield (
            "No seconds: they are told for model.dtype=bfloat16 on a GPU whose data sheet is known."
        )
        return
    yield f"Seconds a step on {gpu.name}, edits and scores left out"
    for stage in Stage:
        yield f"  {stage.value:10} {_range(found.seconds(stage))}"
    yield f"  {'sum':10} {_range(found.seconds())}"


def _range(seconds: tuple[float, float] | None) -> str:
    if seconds is None:
        return "not on this GPU"
    low, high = seconds
    digits = 0 if high >= 10 else 1
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _notes(found: Estimate) -> Iterable[str]:
    config, spread = found.config, found.setup.spread
    yield "Calculated from shapes, not measured; what the allocator loses to fragments is left out."
    if found.has_seconds:
        yield (
            f"Seconds take passes to reach {SLOW.utilisation:.0%} to {FAST.utilisation:.0%} of the "
            f"data sheet's operations, copies {SLOW.bandwidth:.0%} to {FAST.bandwidth:.0%} of its "
            f"bandwidth, and a kernel {FAST.kernel_s * 1e6:.0f} to {SLOW.kernel_s * 1e6:.0f} µs to "
            f"launch; and reports of {found.work.answer} tokens on average."
        )
    yield (
        f"Memory takes every response to have {config.rollout.max_completion_tokens} tokens "
        "(rollout.max_completion_tokens)."
    )
    if config.model.gradient_checkpointing and found.work.is_packed:
        yield (
            "Without gradient checkpointing the language model's part of a pass would keep "
            f"{found.kept_without_checkpointing / GIB:.0f} GiB."
        )
    if found.work.is_packed and config.model.freeze_vision_tower and config.model.feature_ram_mib:
        mib = config.model.feature_ram_mib
        yield f"The host keeps up to {mib:,} MiB of image features besides (model.feature_ram_mib)."
    if config.model.group_attention is not AttentionKernel.SPLIT:
        kernel = config.model.group_attention.value
        yield f"Masks of model.group_attention={kernel} are not in the memory."
    if spread.gpus > 1:
        yield "What GPUs send one another is not in the seconds."
    if spread.launch is Launch.FSDP2:
        yield "Buffers of FSDP2 other than gathered weights are not counted."
    if config.rollout.engine is RolloutEngine.VLLM_SERVER:
        yield "What the server's GPUs take is not counted."
    if config.rollout.compile:
        yield "Compiled decoding is faster than is said here."
