"""A step on many GPUs, on paper: what each computes, what must be sent, what it waits for."""

from dataclasses import dataclass, replace

from benchmarks.account_model import ModelShape, TextShape
from benchmarks.account_step import (
    BF16,
    FLOAT32,
    OURS,
    PAPER,
    Gpu,
    System,
    Workload,
    packed_rows,
    step_phases,
)

NODE = 8  # GPUs of a node
# Bytes a second in each direction: NVLink of an H100 (900 GB/s, both directions together); eight
# adapters of 400 Gbit/s a node.
NVLINK, ADAPTER = 450e9, 50e9
LINK_SHARE = 0.8  # of the data sheet's, reached by long messages


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a step is spread: parameters sharded within a node, nodes hold copies."""

    gpus: int
    prompts: int
    """Of the whole step. A group stays on its GPU, so some are idle if they are fewer."""

    @property
    def busy(self) -> int:
        """GPUs that have a group."""
        return min(self.gpus, self.prompts)

    @property
    def nodes(self) -> int:
        """Nodes with copies of the parameters."""
        return max(1, self.busy // NODE)

    def share(self, work: Workload) -> Workload:
        """Return what one GPU does of a step."""
        return replace(work, prompts=self.prompts // self.busy)


# 64 GPUs cannot share the paper's 32 prompts: half have nothing to do, or the step grows.
LAYOUTS = (
    Layout(gpus=1, prompts=32),
    Layout(gpus=8, prompts=32),
    Layout(gpus=64, prompts=32),
    Layout(gpus=64, prompts=64),
    Layout(gpus=512, prompts=512),
)


def sent_bytes(text: TextShape, layout: Layout) -> dict[str, float]:
    """Return what a GPU receives in a step, by the wire that it takes.

    Args:
        text: The trained part of the policy; one pass each for reference and update, and all of
            its weights gathered once for the rollout.
        layout: How the step is spread.

    Returns:
        Bytes within the node: parameters gathered for the rollout, for the reference's pass and for
        the forward and the backward pass of the update, gradients scattered in float32. Bytes
        between nodes: each GPU's shard of the gradients, summed over nodes.
    """
    shards = min(NODE, layout.busy)
    away = (shards - 1) / shards
    gathered = 4 * BF16 * text.parameters * away
    scattered = FLOAT32 * text.parameters * away
    shard = FLOAT32 * text.parameters / shards
    between = 2 * (layout.nodes - 1) / layout.nodes * shard
    return {"within a node": gathered + scattered, "between nodes": between}


def scaled_step(
    model: ModelShape, layout: Layout, gpu: Gpu, system: System = OURS
) -> dict[str, float]:
    """Return the seconds of a step, by phase; nothing is taken to overlap.

    Args:
        model: The policy.
        layout: How the step is spread.
        gpu: Of which kind.
        system: How each GPU computes its part of the paper's step.

    Returns:
        Seconds by phase, edit and scores left out.
    """
    phases = step_phases(model, layout.share(PAPER), system)
    seconds = {phase.name: phase.seconds(gpu) for phase in phases}
    seconds["optimizer"] /= min(NODE, layout.busy)
    sent = sent_bytes(model.text, layout)
    seconds["within a node"] = sent["within a node"] / (NVLINK * LINK_SHARE)
    seconds["between nodes"] = sent["between nodes"] / (ADAPTER * LINK_SHARE)
    return seconds


def weights_sync_s(model: ModelShape) -> float:
    """Return the time that new weights in bfloat16 take to a server elsewhere, by one adapter."""
    return BF16 * model.parameters / (ADAPTER * LINK_SHARE)


def split_group_gain(work: Workload = PAPER) -> float:
    """Return how much faster two GPUs do a group than one, each with the prompt and half of it."""
    halves = replace(work, group=work.group // 2)
    return packed_rows(work, OURS).tokens / packed_rows(halves, OURS).tokens
