"""The measurements of the benchmark of a GPU: a whole step, and comparisons of its parts."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu_counts import step_flops
from benchmarks.gpu_measure import (
    Cost,
    Meter,
    attempt,
    held_mib,
    known_gpu,
    measure,
    memory_limit,
    release,
    rounded,
)
from benchmarks.gpu_policy import Kind, Policy
from benchmarks.gpu_rows import (
    Group,
    differences,
    ideal_ratio,
    memory_ratio,
    row_log_probs,
    stock_rows,
)
from benchmarks.gpu_workload import (
    Shape,
    build_model,
    build_scorers,
    draw_advantages,
    draw_lengths,
    draw_prompts,
    ending_draws,
    policy_loss,
    sampling_settings,
    score,
    with_edits,
)
from editgrpo.config import AttentionKernel
from editgrpo.training.packed.attention import GroupPlan
from editgrpo.training.packed.group_pass import add_group_pass, packed_log_probs
from editgrpo.training.packed.packing import PackedGroups, pack_groups, packed_length, plan_passes
from editgrpo.training.policy.features import encode_images
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.policy.window_attention import stock_windows
from editgrpo.training.sampling.rollouts import sample_responses

_GROUPS_OF_SWEEP = 9  # some 32,000 tokens at the paper's shape


class Bench:
    """Holds the drawn workload and one policy at a time.

    Args:
        shape: Sizes of model and step.
        device: What computes.
    """

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self.shape, self.device = shape, device
        self.prompts = draw_prompts(shape)
        self.lengths_PK = draw_lengths(shape)
        self._policy: Policy | None = None
        self._features: list[Tensor | None] | None = None

    # --- what the sections share -----------------------------------------------------------------

    def policy(self, kind: Kind) -> Policy:
        """Return the policy of a kind, built unless it is the last one asked for."""
        if self._policy is None or self._policy.kind != kind:
            self.drop_policy()
            self._policy = Policy(self.shape, kind, self.device)
        return self._policy

    def drop_policy(self) -> None:
        """Give the policy's memory back."""
        self._policy = None
        release(self.device)

    @torch.no_grad()
    def features(self, policy: Policy) -> list[Tensor | None]:
        """Return the features of each prompt's images; all policies share one tower's weights."""
        if self._features is None:
            with policy.autocast():
                self._features = [encode_images(policy.base, one) for one in self.prompts]
        return self._features

    def groups(self) -> list[Group]:
        """Return for each prompt its answers, as if they had been sampled and edited."""
        draws = torch.Generator().manual_seed(1)
        sampled = [
            [
                [*torch.randint(self.shape.words, (n - 1,), generator=draws).tolist(), end]
                for n in lengths
            ]
            for lengths in self.lengths_PK
            for end in [self.shape.end_token]
        ]
        return with_edits(self.shape, sampled)

    def pack(
        self,
        policy: Policy,
        groups: Sequence[Group],
        indices: Sequence[int],
        kernel: AttentionKernel = AttentionKernel.SPLIT,
    ) -> PackedGroups:
        """Pack some of the step's groups, with their features, on the device."""
        features = self.features(policy)
        return pack_groups(
            policy.base,
            [self.prompts[k] for k in indices],
            [groups[k] for k in indices],
            features=[features[k] for k in indices],
            kernel=kernel,
        ).to(self.device)

    def packed_tokens(self, groups: Sequence[Group]) -> list[int]:
        """Return the columns that each group takes."""
        return [packed_length(*pair) for pair in zip(self.prompts, groups, strict=True)]

    # --- a whole step ----------------------------------------------------------------------------

    def step(self, kind: Kind, *, limit_mib: int, repeats: int = 1) -> dict[str, Any]:
        """Measure whole steps within a limit of memory; if it does not hold, once more without.

        Args:
            kind: How the policy is trained.
            limit_mib: Of PyTorch's memory.
            repeats: Steps; the fastest is reported, all of them are listed.

        Returns:
            Phases, throughput, share of peak, memory.
        """
        self.drop_policy()

        def within(limit: int | None) -> dict[str, Any]:
            with memory_limit(self.device, limit):
                return self._steps(kind, repeats)

        found = attempt(lambda: within(limit_mib), self.device)
        if "OutOfMemory" in found.get("failed", ""):
            self.drop_policy()
            found = {"failed_within_limit": found["failed"]} | attempt(
                lambda: within(None), self.device
            )
            return {**found, "limit_mib": limit_mib, "fits_limit": False}
        if "failed" in found:  # for another reason, which says nothing of memory
            return found
        return {**found, "limit_mib": limit_mib, "fits_limit": True}

    def _steps(self, kind: Kind, repeats: int) -> dict[str, Any]:
        policy = self.policy(kind)
        scorers = build_scorers(self.shape, self.device)
        release(self.device)  # of what building took
        self._run_step(policy, scorers, range(min(2, len(self.prompts))))  # warms up
        runs = [self._run_step(policy, scorers, range(len(self.prompts))) for _ in range(repeats)]
        best = min(runs, key=lambda run: float(run["step_s"]))
        return {
            **best,
            "all_steps_s": [run["step_s"] for run in runs],
            **policy.bytes_kept(),
        }

    def _run_step(
        self, policy: Policy, scorers: dict[str, Any], indices: Sequence[int]
    ) -> dict[str, Any]:
        meter = Meter(self.device)
        prompts = [self.prompts[k] for k in indices]
        features = self._encode(policy, prompts, meter)
        # A rollout of one token is the prefill; what the whole one takes beyond it is decoding.
        with meter.phase("prefill"):
            self._sample(policy, indices, features, max_tokens=1)
        with meter.phase("decode"):
            sampled = self._sample(policy, indices, features, max_tokens=self.shape.max_tokens)
        meter.seconds["decode"] -= meter.seconds["prefill"]
        with meter.phase("edit"):
            groups = with_edits(self.shape, sampled)
        with meter.phase("score"):
            score(scorers, len(prompts) * self.shape.group)
        with meter.phase("pack"):
            passes = self._pack_passes(policy, prompts, groups, features)
        with meter.phase("reference"):
            references = [policy.reference_log_probs(packed) for packed, _ in passes]
        policy.update(
            [packed for packed, _ in passes],
            references,
            [advantages for _, advantages in passes],
            meter,
        )
        norm = policy.step(meter)
        lengths = [[len(answer) for answer in group] for group in groups]
        wanted = [self.lengths_PK[k] for k in indices]
        assert [one[: self.shape.samples] for one in lengths] == wanted, "rows ended early or late"
        return self._account(policy, meter, prompts, lengths) | {"grad_norm": rounded(norm)}

    @torch.no_grad()
    def _encode(
        self, policy: Policy, prompts: Sequence[EncodedPrompt], meter: Meter
    ) -> list[Tensor | None]:
        with meter.phase("vision"), policy.autocast():
            return [encode_images(policy.base, prompt) for prompt in prompts]

    def _sample(
        self,
        policy: Policy,
        indices: Sequence[int],
        features: Sequence[Tensor | None],
        *,
        max_tokens: int,
        compiled: bool = False,
    ) -> list[Group]:
        lengths = [self.lengths_PK[k] for k in indices]
        draws = ending_draws(lengths, self.shape.max_tokens)[:, :, :max_tokens]
        policy.model.eval()
        with policy.autocast():
            answers = sample_responses(
                policy.model,
                [self.prompts[k] for k in indices],
                draws,
                sampling_settings(self.shape, max_tokens=max_tokens),
                features=features,
                compiled=compiled,
            )
        policy.model.train()
        return answers

    def _pack_passes(
        self,
        policy: Policy,
        prompts: Sequence[EncodedPrompt],
        groups: Sequence[Group],
        features: Sequence[Tensor | None],
    ) -> list[tuple[PackedGroups, Tensor]]:
        lengths = [packed_length(*pair) for pair in zip(prompts, groups, strict=True)]
        advantages_PG = draw_advantages(self.shape, self.device)
        return [
            (
                pack_groups(
                    policy.base,
                    [prompts[k] for k in numbers],
                    [groups[k] for k in numbers],
                    features=[features[k] for k in numbers],
                ).to(self.device),
                advantages_PG[numbers].flatten(),
            )
            for numbers in plan_passes(lengths, self.shape.tokens_per_pass)
        ]

    def _account(
        self,
        policy: Policy,
        meter: Meter,
        prompts: Sequence[EncodedPrompt],
        lengths: Sequence[Sequence[int]],
    ) -> dict[str, Any]:
        seconds = dict(meter.seconds)
        step_s = sum(seconds.values())
        flops = step_flops(policy.base.config, prompts, lengths, self.shape.samples)
        updates = seconds["forward"] + seconds["backward"]
        packed = sum(p.input_ids_T.shape[0] - 1 for p in prompts) + sum(map(sum, lengths))
        sampled = sum(sum(row[: self.shape.samples]) for row in lengths)
        return {
            "step_s": rounded(step_s),
            "phases": {name: rounded(value) for name, value in seconds.items()},
            "peak_mib": meter.peak_mib,
            "reserved_mib": meter.reserved_mib,
            "mfu": self._shares(flops, {**seconds, "update": updates, "step": step_s}),
            "tflop": {name: rounded(value / 1e12) for name, value in flops.items()},
            "tokens": {"packed": packed, "sampled": sampled},
            "tokens_per_s": {
                "prefill": rounded(
                    sum(p.input_ids_T.shape[0] for p in prompts) / seconds["prefill"]
                ),
                "decode": rounded(sampled / seconds["decode"]),
                "reference": rounded(packed / seconds["reference"]),
                "update": rounded(packed / updates),
            },
        }

    def _shares(self, flops: dict[str, float], seconds: dict[str, float]) -> dict[str, float]:
        gpu = known_gpu(self.device)
        if gpu is None or gpu.flops is None:
            return {}
        return {name: rounded(flops[name] / seconds[name] / gpu.flops) for name in flops}

    # --- packed against separate rows ------------------------------------------------------------

    def rows(self, kind: Kind) -> dict[str, Any]:
        """Compare a packed group with separate rows: time, memory, log-probabilities in bfloat16.

        The rows encode the images of their prompt each, as a stock trainer does in every pass; what
        of their time that takes is given beside.

        Args:
            kind: How the policy is trained.
        """
        policy = self.policy(kind)
        policy.drop_states()  # ten rows of the 3B model need the room
        prompt, group = self.prompts[0], self.groups()[0]
        packed = self.pack(policy, self.groups(), [0])
        rows = stock_rows(policy.base, prompt, group, self.device)
        reference_BC = policy.reference_log_probs(packed)
        advantages_B = draw_advantages(self.shape, self.device)[0]
        release(self.device)
        before_mib = held_mib(self.device)
        log_probs: dict[str, Tensor] = {}

        def update(name: str, compute: Callable[[], Tensor]) -> Cost:
            def work() -> None:
                with policy.autocast():
                    log_probs_BC = compute()
                log_probs[name] = log_probs_BC.detach()
                policy_loss(log_probs_BC, reference_BC, advantages_B, scale=1e-4).backward()

            return measure(self.device, work, between=policy.zero_grad)

        ours = update("packed", lambda: packed_log_probs(policy.model, packed)[0])
        with stock_windows(policy.base):
            stock = update("rows", lambda: row_log_probs(policy.model, rows))
            with torch.no_grad(), policy.autocast():
                images = {name: rows[name] for name in ("pixel_values", "image_grid_thw")}
                vision = measure(
                    self.device, lambda: policy.base.model.get_image_features(**images)
                )
        with torch.no_grad():  # what either side would give without rounding
            log_probs["float32"] = packed_log_probs(policy.model, packed)[0]
        pairs = (("packed", "rows"), ("packed", "float32"), ("rows", "float32"))
        return {
            "packed": ours.as_dict(),
            "rows": stock.as_dict(),
            "before_mib": before_mib,
            "vision_of_rows_s": rounded(vision.seconds),
            "ratio": rounded(stock.seconds / ours.seconds),
            "ratio_without_vision": rounded((stock.seconds - vision.seconds) / ours.seconds),
            "memory_ratio": memory_ratio(stock, ours),
            "ideal": rounded(ideal_ratio(prompt, group)),
            "log_prob_differences": {
                f"{a} - {b}": differences(log_probs[a], log_probs[b], packed.is_response_BC)
                for a, b in pairs
            },
        }

    def windows(self, kind: Kind) -> dict[str, Any]:
        """Encode the images of a prompt, one at a time, with windows in batches and one by one.

        Args:
            kind: How the policy is trained.
        """
        policy, prompt = self.policy(kind), self.prompts[0]
        features: dict[str, Tensor] = {}

        @torch.no_grad()
        def encode(name: str) -> None:
            with policy.autocast():
                found = encode_images(policy.base, prompt)
            assert found is not None
            features[name] = found

        batches = measure(self.device, lambda: encode("batches"), repeats=3)
        with stock_windows(policy.base):
            one_by_one = measure(self.device, lambda: encode("one by one"), repeats=3)
        apart = (features["batches"] - features["one by one"]).float().abs()
        return {
            "images": self.shape.images_P[0],
            "batches_s": rounded(batches.seconds),
            "one_by_one_s": rounded(one_by_one.seconds),
            "ratio": rounded(one_by_one.seconds / batches.seconds),
            "largest_difference": rounded(float(apart.max())),
            "largest_feature": rounded(float(features["one by one"].abs().max())),
        }

    def agreement(self) -> dict[str, Any]:
        """Compare a packed group with separate rows of a shallow model in float32, gradients too.

        Returns:
            Differences of log-probabilities in nats, and the norm of the difference of all
            gradients over the norm of the rows'.
        """
        self.drop_policy()
        layers = self.shape.shallow_layers
        stock = build_model(self.shape, self.device, layers=layers).train()
        ours = build_model(self.shape, self.device, layers=layers).train()
        add_group_pass(ours, temperature=1.0)
        prompt, group = self.prompts[0], self.groups()[0]
        packed = pack_groups(ours, [prompt], [group]).to(self.device)
        rows = stock_rows(stock, prompt, group, self.device)
        weights_B = draw_advantages(self.shape, self.device)[0]
        found = []
        for model, compute in (
            (ours, lambda: packed_log_probs(ours, packed)[0]),
            (stock, lambda: row_log_probs(stock, rows)),
        ):
            log_probs_BC = compute()
            (log_probs_BC * weights_B[:, None]).sum().backward()
            gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
            found.append((log_probs_BC.detach(), gradients))
        (packed_BC, our_gradients), (rows_BC, their_gradients) = found
        assert our_gradients.keys() == their_gradients.keys()
        apart = sum(
            float((our_gradients[n] - their_gradients[n]).double().square().sum())
            for n in their_gradients
        )
        whole = sum(float(g.double().square().sum()) for g in their_gradients.values())
        return {
            "layers": layers,
            "log_prob_differences": differences(packed_BC, rows_BC, packed.is_response_BC),
            "gradient_difference": rounded((apart / whole) ** 0.5),
        }

    def decode(self, kind: Kind) -> dict[str, Any]:
        """Sample the step's answers with eager and with compiled decoding steps.

        Args:
            kind: How the policy is trained.
        """
        policy = self.policy(kind)
        features, everyone = self.features(policy), range(len(self.prompts))

        def rollout(max_tokens: int, compiled: bool) -> Cost:
            def sample() -> object:
                return self._sample(
                    policy, everyone, features, max_tokens=max_tokens, compiled=compiled
                )

            return measure(self.device, sample)

        prefill = rollout(1, False)
        eager = rollout(self.shape.max_tokens, False).seconds - prefill.seconds
        found = {"prefill_s": rounded(prefill.seconds), "eager_s": rounded(eager)}
        if self.device.type != "cuda":
            return found  # compiling takes longer than all the rest of a trial

        def compiled() -> dict[str, Any]:
            seconds = rollout(self.shape.max_tokens, True).seconds - prefill.seconds
            return {"compiled_s": rounded(seconds), "ratio": rounded(eager / seconds)}

        return found | attempt(compiled, self.device)

    # --- budgets, checkpointing, kernels ---------------------------------------------------------

    def sweep(self, kind: Kind) -> dict[str, Any]:
        """Run the same groups forward and backward in passes of several budgets.

        Args:
            kind: How the policy is trained.
        """
        groups, lengths = self.groups(), self.packed_tokens(self.groups())
        chosen = range(min(_GROUPS_OF_SWEEP, len(groups)))
        policy = self.policy(kind)
        self.features(policy)
        found = {}
        for budget in self.shape.sweep:
            plan = plan_passes([lengths[k] for k in chosen], budget)
            found[str(budget)] = attempt(
                lambda plan=plan: self._cost_of(policy, groups, plan), self.device
            )
            policy.zero_grad()
        return found

    def checkpointing(self, kind: Kind) -> dict[str, Any]:
        """Run one pass of several budgets with gradient checkpointing and without.

        Args:
            kind: How the policy is trained.
        """
        groups, lengths = self.groups(), self.packed_tokens(self.groups())
        policy = self.policy(kind)
        self.features(policy)
        found: dict[str, Any] = {}
        for budget in self.shape.sweep[:-1]:
            plan = [fullest(plan_passes(lengths, budget), lengths, budget)]
            for name, is_on in (("on", True), ("off", False)):
                policy.checkpoint(is_on)
                found[f"{budget} {name}"] = attempt(
                    lambda plan=plan: self._cost_of(policy, groups, plan), self.device
                )
                policy.zero_grad()
        policy.checkpoint(True)
        return found

    def _cost_of(
        self, policy: Policy, groups: Sequence[Group], plan: Sequence[Sequence[int]]
    ) -> dict[str, Any]:
        passes = [self.pack(policy, groups, numbers) for numbers in plan]
        tokens = sum(packed.input_ids_1L.shape[1] for packed in passes)

        def work() -> None:
            for packed in passes:
                with policy.autocast():
                    log_probs_BC = packed_log_probs(policy.model, packed)[0]
                log_probs_BC.sum().backward()

        cost = measure(self.device, work, between=policy.zero_grad)
        return {
            **cost.as_dict(),
            "passes": len(passes),
            "tokens": tokens,
            "tokens_per_s": rounded(tokens / cost.seconds),
        }

    def kernels(self) -> dict[str, Any]:
        """Time attention of one layer, forward and backward, on one group and on a whole pass."""
        groups = self.groups()
        lengths = self.packed_tokens(groups)
        plans = {
            "group": [0],
            "pass": plan_passes(lengths, self.shape.tokens_per_pass)[0],
        }
        model = build_model(self.shape, self.device, layers=1)
        found: dict[str, Any] = {}
        for name, numbers in plans.items():
            packed = pack_groups(
                model, [self.prompts[k] for k in numbers], [groups[k] for k in numbers]
            )
            outputs: dict[str, Tensor] = {}
            for kernel in AttentionKernel:
                plan = GroupPlan(packed.plan.groups, kernel)
                found[f"{name} {kernel}"] = attempt(
                    lambda plan=plan, kernel=kernel, outputs=outputs: self._attention_cost(
                        plan, outputs, kernel
                    ),
                    self.device,
                )
        return found

    def _attention_cost(
        self, plan: GroupPlan, outputs: dict[str, Tensor], kernel: AttentionKernel
    ) -> dict[str, Any]:
        text = self.shape.text
        heads, key_heads = int(text["num_attention_heads"]), int(text["num_key_value_heads"])
        width = int(text["hidden_size"]) // heads
        columns = plan.groups[-1].end
        torch.manual_seed(0)
        query, key, value = (
            torch.randn(
                1, h, columns, width, device=self.device, dtype=torch.bfloat16, requires_grad=True
            )
            for h in (heads, key_heads, key_heads)
        )
        module = nn.Module().train()
        module.layer_idx = 0
        scaling = width**-0.5

        def forward() -> Tensor:
            return plan.attend(module, query, key, value, scaling=scaling, window=None)

        def both() -> None:
            forward().float().square().sum().backward()

        whole = measure(self.device, both, repeats=5)
        with torch.no_grad():
            alone = measure(self.device, forward, repeats=5)
            outputs[kernel] = forward()
        apart = (outputs[kernel] - outputs[AttentionKernel.SPLIT]).abs().max()
        return {
            "columns": columns,
            "forward_ms": rounded(1000 * alone.seconds),
            "forward_and_backward_ms": rounded(1000 * whole.seconds),
            "peak_mib": whole.peak_mib,
            "largest_difference_from_split": rounded(float(apart)),
        }


def fullest(passes: Sequence[list[int]], lengths: Sequence[int], budget: int) -> list[int]:
    """Return the pass of most tokens among those within the budget, or the shortest of all.

    Args:
        passes: Groups of each pass.
        lengths: Tokens of each group.
        budget: Most tokens of a pass.
    """
    tokens = {tuple(one): sum(lengths[k] for k in one) for one in passes}
    within = [one for one in passes if tokens[tuple(one)] <= budget]
    if not within:
        return min(passes, key=lambda one: tokens[tuple(one)])
    return max(within, key=lambda one: tokens[tuple(one)])
