"""The stock side of the benchmarks: TRL's own GRPOTrainer on the same model, studies and groups.

Nothing of TRL is changed. The trainer is timed from outside, and its processor is the family's own;
of the Qwen families less the part for videos, which needs torchvision.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen2_5_VLProcessor
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from benchmarks.workload import DrawnGroup, move_from_reference
from editgrpo.config import KLTerm, TrainConfig
from editgrpo.data.prompt import build_messages
from editgrpo.data.study import Split
from editgrpo.rewards import configured_reward
from editgrpo.training.packed.plain import repeated
from editgrpo.training.policy.generation_tokens import generation_tokens
from editgrpo.training.policy.load import load_processor, vision_tower
from editgrpo.training.policy.processor import PromptProcessor, StudyProcessor
from editgrpo.training.policy.prompts import load_split
from editgrpo.training.run.arguments import common_arguments

PHASES = ("generate", "prepare", "reference", "score", "update")


class ProcessorWithoutVideos(Qwen2_5_VLProcessor):  # type: ignore[misc]
    """Qwen2.5-VL's processor where torchvision is absent."""

    def check_argument_for_proper_class(self, *_: Any) -> None:
        """Let the processor for videos be missing."""


class TimedGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer with the seconds of its phases.

    Attributes:
        seconds: Of each phase since it was last emptied. `prepare` is what reading images, padding
            and the like take; `update` is the forward and backward passes.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        super().__init__(*arguments, **keywords)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Count what passes in here and in no phase inside."""
        start, inside = time.perf_counter(), sum(self.seconds.values())
        yield
        inside = sum(self.seconds.values()) - inside
        self.seconds[name] += time.perf_counter() - start - inside

    def training_step(self, *arguments: Any, **keywords: Any) -> Tensor:
        """Time a step's passes and all that they need."""
        with self._phase("update"):
            loss: Tensor = super().training_step(*arguments, **keywords)
        return loss

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        with self._phase("prepare"):
            return super()._generate_and_score_completions(inputs)

    def _generate_single_turn(self, *arguments: Any, **keywords: Any) -> Any:
        with self._phase("generate"):
            return super()._generate_single_turn(*arguments, **keywords)

    def _calculate_rewards(self, *arguments: Any, **keywords: Any) -> Any:
        with self._phase("score"):
            return super()._calculate_rewards(*arguments, **keywords)

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **keywords: Any) -> Any:
        if torch.is_grad_enabled():
            return super()._get_per_token_logps_and_entropies(*arguments, **keywords)
        with self._phase("reference"):
            return super()._get_per_token_logps_and_entropies(*arguments, **keywords)


def stock_arguments(config: TrainConfig) -> GRPOConfig:
    """Translate a run's settings as a user of TRL would: one group in a pass, all passes of a step
    accumulated, all its responses generated together.

    Args:
        config: The run.
    """
    group, prompts = config.rollout.group_size, config.prompts_per_step
    return GRPOConfig(
        **{**common_arguments(config), "save_strategy": "no"},
        max_steps=config.steps,
        per_device_train_batch_size=group,
        gradient_accumulation_steps=prompts,
        num_generations=group,
        max_completion_length=config.rollout.max_completion_tokens,
        temperature=config.rollout.temperature,
        beta=config.objective.beta,
        use_bias_correction_kl=config.objective.kl is KLTerm.K3_TIMES_RATIO,
        epsilon=config.objective.epsilon,
        loss_type=config.objective.loss.value,
        scale_rewards=config.objective.scale.value,
        disable_dropout=True,
    )


def stock_trainer(config: TrainConfig, *, callbacks: Sequence[Any] = ()) -> TimedGRPOTrainer:
    """Build TRL's trainer for a run; its responses never end before the length limit.

    Args:
        config: The run.
        callbacks: Of transformers.
    """
    folder = Path(config.model.path)
    policy = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False
    )
    if config.model.freeze_vision_tower:
        for parameter in vision_tower(policy).parameters():
            parameter.requires_grad_(False)
    ours = load_processor(folder)
    processor = _stock_processor(folder, ours)
    tokens = generation_tokens(policy, ours.tokenizer)
    arguments = stock_arguments(config)
    arguments.generation_kwargs = {
        "suppress_tokens": [*tokens.forbidden_token_ids, *tokens.eos_token_ids]
    }
    reward = configured_reward(config.reward, config.clinical)

    def score(completions: Any, reference: Any, **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        totals: list[float] = reward.score(texts, reference).total.tolist()
        return totals

    return TimedGRPOTrainer(
        model=policy,
        reward_funcs=score,
        args=arguments,
        train_dataset=_rows(config),
        processing_class=processor,
        callbacks=list(callbacks),
    )


def _stock_processor(folder: Path, ours: PromptProcessor) -> Any:
    if not isinstance(ours, StudyProcessor):
        return AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    template = ours.tokenizer.chat_template
    return ProcessorWithoutVideos(
        ours.image_processor, ours.tokenizer, None, chat_template=template
    )


def _rows(config: TrainConfig) -> Any:
    """Lay the studies out as TRL reads them: messages, images and the reference report."""
    studies = load_split(config.data, Split.TRAIN)
    rows: dict[str, list[Any]] = {"prompt": [], "images": [], "reference": []}
    for study in studies:
        prompt = build_messages(study, max_images=config.data.max_images)
        rows["prompt"].append(prompt.messages)
        rows["images"].append([studies.images.load(image.image_id) for image in prompt.images])
        rows["reference"].append(study.findings)
    return datasets.Dataset.from_dict(rows).cast_column("images", [datasets.Image(mode="RGB")])


class StockUpdate:
    """TRL's reference pass and update on a group that was drawn beforehand.

    Args:
        config: The run, of one group.
        group: What is trained on.
    """

    def __init__(self, config: TrainConfig, group: DrawnGroup) -> None:
        self.trainer = stock_trainer(config)
        self.trainer.current_gradient_accumulation_steps = 1
        move_from_reference(self.trainer.model)
        self.trainer.model.train()
        self._rows = _padded_rows(group, self.trainer._tokenizer.pad_token_id)
        self._images = _repeated_images(group, self._rows["completion_ids"].shape[1])

    def reference(self) -> dict[str, Any]:
        """Compute the reference's log-probabilities, as TRL does when it has generated."""
        with torch.no_grad():
            logps_BC = self._log_probs(self.trainer.ref_model)
        return {**self._rows, **self._images, "ref_per_token_logps": logps_BC}

    def backward(self, batch: dict[str, Any]) -> float:
        """Run TRL's loss forward and backward; return the loss."""
        loss = self.trainer.compute_loss(self.trainer.model, batch)
        self.trainer.accelerator.backward(loss)
        return float(loss.detach())

    def log_probs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return (B, C) log-probabilities under the policy and under the reference."""
        with torch.no_grad():
            return self._log_probs(self.trainer.model), batch["ref_per_token_logps"]

    def _log_probs(self, model: Any) -> Tensor:
        rows = self._rows
        log_probs_BC: Tensor = self.trainer._get_per_token_logps_and_entropies(
            model,
            torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1),
            torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1),
            rows["completion_ids"].shape[1],
            **self._images,
        )[0]
        return log_probs_BC.masked_fill(rows["completion_mask"] == 0, 0.0)

    def more_seconds(self) -> dict[str, float]:
        """Time what TRL's head takes for prompts in an update, once without and once with
        gradients: on a CPU it scores these too, on a GPU responses only."""
        ids_BL = self._rows["prompt_ids"]
        model = _HeadAlone(self.trainer.model, ids_BL)
        add_fused_lm_head(model, outputs=("log_probs", "entropy"))
        start = time.perf_counter()
        with torch.no_grad():
            model.forward(labels=ids_BL, fused_lm_head=True)
        model.forward(labels=ids_BL, fused_lm_head=True).log_probs.sum().backward()
        seconds = time.perf_counter() - start
        self.trainer.model.zero_grad(set_to_none=True)
        return {"head_of_prompts_s": seconds}


class _HeadAlone(torch.nn.Module):
    """A model whose layers give noise at once, so that its head alone is timed."""

    def __init__(self, model: Any, ids_BL: Tensor) -> None:
        super().__init__()
        self.config = model.config
        self._head = model.get_output_embeddings()
        width = self._head.in_features
        self.hidden_BLD = torch.randn(*ids_BL.shape, width, requires_grad=True)

    def forward(self) -> None:
        """Never run: TRL's head calls the layers itself."""

    def base_model(self, **_: Any) -> Any:
        """Stand for the layers."""
        return SimpleNamespace(last_hidden_state=self.hidden_BLD)

    def get_output_embeddings(self) -> Any:
        """Return the head of the model."""
        return self._head


def _padded_rows(group: DrawnGroup, pad_token_id: int) -> dict[str, Any]:
    responses = group.responses
    longest = max(map(len, responses))
    ids_BC = torch.full((len(responses), longest), pad_token_id)
    mask_BC = torch.zeros_like(ids_BC)
    for row, response in enumerate(responses):
        ids_BC[row, : len(response)] = torch.tensor(response)
        mask_BC[row, : len(response)] = 1
    prompt_ids = group.prompt.input_ids_T.repeat(len(responses), 1)
    return {
        "prompt_ids": prompt_ids,
        "prompt_mask": torch.ones_like(prompt_ids),
        "completion_ids": ids_BC,
        "completion_mask": mask_BC,
        "advantages": torch.tensor(group.advantages),
    }


def _repeated_images(group: DrawnGroup, columns: int) -> dict[str, Any]:
    """Give every row the images, as TRL does; responses of so many columns have none."""
    prompt, rows = group.prompt, len(group.responses)
    return {
        **repeated(prompt.stock_inputs(), rows, more=columns, tokens=prompt.input_ids_T.shape[0]),
        "num_images": [len(prompt.image_ids)] * rows,
    }
