"""The account of a training step at the paper's scale: operations, bytes, seconds to expect.

    .venv/bin/python -m benchmarks.account

A calculation: it needs neither GPU nor weights, and nothing in it is measured. It prints the tables
of docs/performance.md; the last line printed is one JSON object.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks.account_cpu import (
    CPU_MODEL,
    CPU_WORK,
    ideal_ratio,
    image_patches,
    step_ratio,
    update_ratio,
)
from benchmarks.account_memory import (
    GIB,
    STATE_OPTIONS,
    features_bytes,
    image_feature_bytes,
    store_bytes,
    update_bytes,
)
from benchmarks.account_model import BACKWARD, FORWARD, QWEN2_5_VL_3B, RECOMPUTE, vision_flops
from benchmarks.account_scale import (
    LAYOUTS,
    scaled_step,
    sent_bytes,
    split_group_gain,
    weights_sync_s,
)
from benchmarks.account_step import (
    A100,
    H100,
    MFU,
    MFU_BAND,
    OURS,
    PAPER,
    PAPER_GPU_SECONDS,
    TRL,
    TRL_VLLM,
    VERL,
    Pairs,
    Phase,
    WindowCalls,
    attention_calls,
    chunked_decode_s,
    derived_mfu,
    encodings,
    group_rows,
    host_images_s,
    layer_bytes,
    passes,
    step_phases,
    total_s,
)

MODEL = QWEN2_5_VL_3B
SYSTEMS = (TRL, TRL_VLLM, VERL, OURS)
GOAL_S = 30
LIMITS_GIB = {"full": 76, "lora": 24}
CHUNKS = 4
# Training studies and images a study, as the paper counts them after its preprocessing.
STUDIES = {
    "MIMIC-CXR": (146_893, 4.17),
    "ReXGradient-160K": (139_884, 1.69),
    "IU X-Ray": (2_365, 2.0),
    "PadChest-GR": (3_640, 1.32),
}

# Each lever taken away from ours alone, everything else as it is.
GRAPHED = replace(OURS, is_graphed=True)
EACH_PASS = replace(OURS, encodes_once=False, images_per_call=TRL.images_per_call)
ONE_BY_ONE = replace(OURS, window_calls=WindowCalls.EACH)
DENSE = "split attention (dense mask over four groups)"
WITHOUT = {
    "packed pass and features once": replace(EACH_PASS, is_packed=False),
    "packed pass": replace(OURS, is_packed=False),
    DENSE: replace(OURS, pairs=Pairs.DENSE),
    "prompt prefilled once for its samples": replace(OURS, shares_prefill=False),
    "windows of one length in one call (one call a window)": ONE_BY_ONE,
    "passes of 16,384 tokens (one group a pass)": replace(OURS, tokens_per_pass=1),
    "logits of responses only (all columns)": replace(OURS, scores_all=True),
    "features once a step (in every pass, once a group)": EACH_PASS,
    "keys of a prompt read once for its samples": replace(OURS, reads_store_once=False),
    "edits for half of a group (all sampled)": replace(OURS, samples=PAPER.group),
}


def main() -> None:
    """Print the tables and the object."""
    print_counts()
    print_phases()
    print_gap()
    print_levers()
    print_more_levers()
    print_cpu()
    print_memory()
    print_feature_store()
    print_scale()
    print(json.dumps(summary()))


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in markdown."""
    print("\n| " + " | ".join(map(str, head)) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def print_counts() -> None:
    """Print what each system computes of what."""
    rows: list[Sequence[object]] = []
    for system in SYSTEMS:
        of_group = group_rows(PAPER, system)
        rows.append(
            (
                system.name,
                f"{PAPER.prompts * of_group.tokens:,.0f}",
                f"{PAPER.prompts * of_group.scored:,.0f}",
                f"{encodings(PAPER, system):,.0f}",
                passes(PAPER, system),
                f"{petaflops(step_phases(MODEL, PAPER, system)):.1f}",
                f"{host_images_s(PAPER, system):.0f}",
            )
        )
    head = ("", "tokens a pass over the step", "logits of", "images encoded", "passes", "PFLOP")
    table((*head, "preparing images, s of a core"), rows)


def print_phases() -> None:
    """Print operations, bytes and seconds by phase."""
    found = {s.name: {p.name: p for p in step_phases(MODEL, PAPER, s)} for s in SYSTEMS}
    rows: list[Sequence[object]] = []
    for name in found[VERL.name]:
        phases = [found[system.name].get(name) for system in SYSTEMS]
        rows.append((name, *(amount_of(phase) for phase in phases)))
    table(("computed and moved", *found), rows)
    rows = []
    for name in found[VERL.name]:
        phases = [found[system.name].get(name) for system in SYSTEMS]
        rows.append((name, *(f"{p.seconds(H100):.2f}" if p else "-" for p in phases)))
    steps = [step_phases(MODEL, PAPER, system) for system in SYSTEMS]
    rows.append(("sum", *(f"{total_s(step, H100):.1f}" for step in steps)))
    low, high = MFU_BAND
    band = [f"{total_s(s, H100, high):.1f} to {total_s(s, H100, low):.1f}" for s in steps]
    rows.append((f"at {high:.0%} to {low:.0%}", *band))
    rows.append(("floor", *(f"{sum(p.floor_s(H100) for p in step):.1f}" for step in steps)))
    table((f"s on one {H100.name}, MFU {MFU:.0%}", *found), rows)


def print_levers() -> None:
    """Print what the step would take without each lever."""
    ours = total_s(step_phases(MODEL, PAPER, OURS), H100)
    rows = []
    for name, system in WITHOUT.items():
        phases = step_phases(MODEL, PAPER, system)
        seconds = total_s(phases, H100)
        rows.append((name, f"{petaflops(phases):.1f}", f"{seconds:.1f}", f"{seconds / ours:.2f}"))
    table(("ours without", "PFLOP", "s", "times ours"), rows)
    dense = group_rows(PAPER, WITHOUT[DENSE])
    rows_of_group = group_rows(PAPER, OURS)
    print(
        f"pairs of the dense mask that may see each other: {rows_of_group.pairs / dense.pairs:.0%}"
    )
    print(f"tokens of a group in one response: {PAPER.answer / rows_of_group.tokens:.1%}")
    each, ours_calls = (attention_calls(MODEL.vision, PAPER, s) for s in (ONE_BY_ONE, OURS))
    print(f"calls of the vision tower's attention for an image: {ours_calls:.0f}, not {each:.0f}")


def print_gap() -> None:
    """Print what stands between the floor and the time to expect, and what makes the ratio."""
    phases = step_phases(MODEL, PAPER, OURS)
    seconds = total_s(phases, H100)
    kernels = [replace(phase, host_s=0) for phase in phases]
    at_peak = total_s(kernels, H100, mfu=1)
    launches = seconds - total_s(kernels, H100)
    print(f"floor to expectation: launches {launches:.1f} s, ", end="")
    print(f"MFU {seconds - launches - at_peak:.1f} s")
    ours, theirs = petaflops(phases), petaflops(step_phases(MODEL, PAPER, VERL))
    used = ours * 1e15 / (seconds * H100.flops)
    then = theirs * 1e15 / (PAPER_GPU_SECONDS * A100.flops)
    print(f"GPU-seconds: {theirs / ours:.1f} times fewer operations, a GPU ", end="")
    print(f"{H100.flops / A100.flops:.1f} times as fast, {used / then:.1f} times its use")


def print_more_levers() -> None:
    """Print what was not done, or not counted above, would bring."""
    ours = step_phases(MODEL, PAPER, OURS)
    seconds = total_s(ours, H100)
    others = {
        "the images of a study encoded together": replace(OURS, images_per_call=PAPER.images),
        "decoding steps as graphs": GRAPHED,
    }
    tokens = group_rows(PAPER, OURS).tokens
    eager = derived_mfu(MODEL.text, H100, tokens=tokens)
    fused = derived_mfu(MODEL.text, H100, tokens=tokens, is_fused=True)
    chunked, whole = (
        [chunked_decode_s(MODEL, PAPER, s, chunks=chunks) for s in (OURS, GRAPHED)]
        for chunks in (CHUNKS, 1)
    )
    reference = next(phase for phase in ours if phase.name == "reference").seconds(H100)
    trained = FORWARD + BACKWARD + RECOMPUTE
    tower = PAPER.prompts * PAPER.images * vision_flops(MODEL.vision, PAPER.patches, trained) / 1e15
    traffic = layer_bytes(MODEL.text) / 1e3
    print(f"an eager layer moves {traffic:.0f} kB a token beside its weights")
    print(f"MFU of eager layers, derived: {eager:.1%}; element-wise operations fused: {fused:.1%}")
    rows = [(name, total_s(step_phases(MODEL, PAPER, s), H100)) for name, s in others.items()]
    rows.append(
        ("layers compiled, element-wise operations fused", total_s(ours, H100, MFU * fused / eager))
    )
    table(("ours with", "s", "saves"), [(n, f"{t:.1f}", f"{seconds - t:.1f}") for n, t in rows])
    print(f"scores beside the reference pass: at most {reference:.1f} s hidden")
    print(f"scores beside sampling in {CHUNKS} chunks: decoding {chunked[0]:.1f} s, not", end=" ")
    print(f"{whole[0]:.1f}; as graphs {chunked[1]:.1f} s, not {whole[1]:.1f}")
    print(f"trained tower, its part of the update: {tower:.1f} PFLOP once a group, ", end="")
    print(f"{PAPER.group * tower:.1f} once a response")


def print_cpu() -> None:
    """Print what to expect of benchmarks/update_step.py."""
    tokens = CPU_WORK.prompt + CPU_WORK.answer
    shares = [round(tokens * share / (share + 1)) for share in (1, 2, 5, 9, 20)]
    cases = [(prompt, tokens - prompt, CPU_WORK.group) for prompt in shares]
    cases += [(CPU_WORK.prompt, CPU_WORK.answer, group) for group in (4, 8, 16)]
    rows = []
    for prompt, answer, group in cases:
        longest = round(answer * CPU_WORK.longest / CPU_WORK.answer)
        work = replace(
            CPU_WORK,
            prompt=prompt,
            answer=answer,
            longest=longest,
            group=group,
            patches=image_patches(prompt),
        )
        ratios = [update_ratio(CPU_MODEL, work, is_tower_trained=t) for t in (True, False)]
        rows.append((prompt, answer, group, *(f"{r:.2f}" for r in (ideal_ratio(work), *ratios))))
    table(("prompt", "answer", "G", "ideal", "tower trained", "tower frozen"), rows)


def print_memory() -> None:
    """Print the parts of the peak."""
    options = (*STATE_OPTIONS, None)
    found = [update_bytes(MODEL, PAPER, option, tokens=OURS.tokens_per_pass) for option in options]
    rows = [(part, *(f"{one[part] / GIB:.1f}" for one in found)) for part in found[0]]
    rows.append(("sum", *(f"{sum(one.values()) / GIB:.1f}" for one in found)))
    table(("GiB", *(option.name if option else "LoRA, rank 16" for option in options)), rows)
    shared, copied = (store_bytes(MODEL.text, PAPER, shared=s) / GIB for s in (True, False))
    print(f"key/value store of the rollout: {shared:.1f} GiB shared, {copied:.1f} GiB copied")
    logits = PAPER.prompts * group_rows(PAPER, OURS).scored * MODEL.text.vocabulary * 4 / GIB
    print(f"logits of the step's responses in float32, had they been kept: {logits:.1f} GiB")


def print_feature_store() -> None:
    """Print what the features of all training images take."""
    image = image_feature_bytes(MODEL, PAPER.patches)
    print(f"features: {image / 2**20:.1f} MiB an image, ", end="")
    print(f"{features_bytes(MODEL, PAPER) / GIB:.2f} GiB a step")
    for name, (studies, images) in STUDIES.items():
        print(f"features of {name}: {studies * images * image / GIB:,.0f} GiB")


def print_scale() -> None:
    """Print a step on many GPUs."""
    rows = []
    for layout in LAYOUTS:
        seconds, sent = scaled_step(MODEL, layout, H100), sent_bytes(MODEL.text, layout)
        total = sum(seconds.values())
        waiting = seconds["within a node"] + seconds["between nodes"]
        rows.append(
            (
                layout.gpus,
                f"{layout.prompts}{', half idle' if layout.busy < layout.gpus else ''}",
                f"{total:.1f}",
                f"{seconds['decode']:.1f}",
                f"{waiting:.2f}",
                f"{sum(scaled_step(MODEL, layout, H100, GRAPHED).values()):.1f}",
                *(f"{amount / 1e9:.1f}" for amount in sent.values()),
            )
        )
    head = ("GPUs", "prompts a step", "s", "of it decoding", "sending", "s with graphs")
    table((*head, "GB a GPU in its node", "between nodes"), rows)
    print(f"new weights to servers on other nodes: {weights_sync_s(MODEL):.2f} s by one adapter")
    print(f"a group split over two GPUs: {split_group_gain():.2f} times as fast")


def summary() -> dict[str, object]:
    """Return what the tables come to."""
    ours = step_phases(MODEL, PAPER, OURS)
    verl = petaflops(step_phases(MODEL, PAPER, VERL)) * 1e15
    seconds = total_s(ours, H100)
    options = (*STATE_OPTIONS, None)
    peaks = [update_bytes(MODEL, PAPER, option, tokens=OURS.tokens_per_pass) for option in options]
    cpu = [update_ratio(CPU_MODEL, CPU_WORK, is_tower_trained=t) for t in (True, False)]
    return {
        "measured": False,
        "petaflops": {s.name: round(petaflops(step_phases(MODEL, PAPER, s)), 2) for s in SYSTEMS},
        "floor_s": round(sum(phase.floor_s(H100) for phase in ours), 2),
        "predicted_s": round(seconds, 1),
        "predicted_band_s": [round(total_s(ours, H100, mfu), 1) for mfu in reversed(MFU_BAND)],
        "left_for_edits_and_scores_s": round(GOAL_S - seconds, 1),
        "gpu_seconds_ratio": {
            "edits_and_scores_left_out": round(PAPER_GPU_SECONDS / seconds, 1),
            "at_30_s": PAPER_GPU_SECONDS / GOAL_S,
        },
        "published_run": {
            "utilisation_of_4_a100": round(verl / (PAPER_GPU_SECONDS * A100.flops), 3),
            "s_at_mfu": round(verl / (4 * A100.flops * MFU)),
        },
        "cpu_ratios": {
            "ideal": round(ideal_ratio(CPU_WORK), 2),
            "update_trainable": round(cpu[0], 2),
            "update_frozen": round(cpu[1], 2),
            "step": round(step_ratio(CPU_MODEL, CPU_WORK, is_tower_trained=False), 2),
        },
        "memory_gib": {
            option.name if option else "lora": round(sum(peak.values()) / GIB, 1)
            for option, peak in zip(options, peaks, strict=True)
        },
        "limits_gib": LIMITS_GIB,
        "step_s": {
            f"{layout.gpus} GPUs, {layout.prompts} prompts": round(
                sum(scaled_step(MODEL, layout, H100).values()), 2
            )
            for layout in LAYOUTS
        },
    }


def amount_of(phase: Phase | None) -> str:
    """Format what a phase computes and moves; a phase that a system does not have is a dash."""
    if phase is None:
        return "-"
    amounts = ((phase.flops / 1e15, "PFLOP"), (phase.bytes / 1e12, "TB"))
    return ", ".join(f"{amount:.2f} {unit}" for amount, unit in amounts if amount)


def petaflops(phases: Iterable[Phase]) -> float:
    """Return all operations."""
    return sum(phase.flops for phase in phases) / 1e15


if __name__ == "__main__":
    main()
