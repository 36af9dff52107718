"""A packed pass that is wrong stops a run before its first update."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from editgrpo.config import AttentionKernel, DType
from editgrpo.errors import TrainingError
from editgrpo.training.packed import packing
from editgrpo.training.packed.attention import GroupPlan
from editgrpo.training.packed.group_pass import add_group_pass
from editgrpo.training.packed.packing import PackedGroups, pack_groups
from editgrpo.training.packed.self_check import check_group_pass
from editgrpo.training.packed.visibility import GroupSpan
from editgrpo.training.policy import window_attention
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.train import run_training
from tests.training.small_models import look_closely, small_model, stock_features
from tests.training.tiny_run import Tiny

# An edited group: a rollout, its edited version with the same beginning, a duplicate, one token.
RESPONSES = [[30, 40, 50, 60, 2], [30, 40, 77, 88, 99, 2], [30, 40, 50, 60, 2], [2]]


def positions_that_go_on(packed: PackedGroups) -> PackedGroups:
    """Place every response behind the one before it, not behind the prompt."""
    length = packed.input_ids_1L.shape[1]
    start = int(packed.response_column_R[0])
    positions = packed.position_ids.clone()
    first = int(positions[0, 0, start])
    positions[:, :, start:] = first + torch.arange(length - start)
    return replace(packed, position_ids=positions)


def responses_that_see_each_other(packed: PackedGroups) -> PackedGroups:
    """Let every response see those before it."""
    (span,) = packed.plan.groups
    joined = GroupSpan(span.start, span.prefix, (sum(span.lengths),))
    return replace(packed, plan=GroupPlan([joined], AttentionKernel.SPLIT))


def features_in_another_order(packed: PackedGroups) -> PackedGroups:
    """Give image tokens the features of others."""
    return replace(packed, image_column_N=packed.image_column_N.flip(0))


@pytest.fixture(params=["qwen2.5-vl", "qwen3-vl"])
def group(tiny: Tiny, request: pytest.FixtureRequest) -> tuple[Any, PackedGroups, EncodedPrompt]:
    model = small_model(request.param, tiny)
    look_closely(model, language=2)
    add_group_pass(model, temperature=0.7)
    (prompt,) = tiny.prompts(1)
    return model, pack_groups(model, [prompt], [RESPONSES]), prompt


@pytest.mark.parametrize("dtype", list(DType))
def test_a_sound_pass_is_within_rounding(
    group: tuple[Any, PackedGroups, EncodedPrompt], dtype: DType
) -> None:
    model, packed, prompt = group
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is DType.BFLOAT16):
        found = check_group_pass(model, packed, prompt, RESPONSES, dtype=dtype, temperature=0.7)
    assert found < (1e-5 if dtype is DType.FLOAT32 else 2e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "dtype"),
    [
        (positions_that_go_on, DType.FLOAT32),
        (responses_that_see_each_other, DType.FLOAT32),
        (features_in_another_order, DType.FLOAT32),
        # In bfloat16 what so small a model sees of other responses is within the rounding of a
        # large one.
        (positions_that_go_on, DType.BFLOAT16),
        (features_in_another_order, DType.BFLOAT16),
    ],
)
def test_faults_are_told_from_rounding(
    group: tuple[Any, PackedGroups, EncodedPrompt],
    fault: Callable[[PackedGroups], PackedGroups],
    dtype: DType,
) -> None:
    model, packed, prompt = group
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=dtype is DType.BFLOAT16),
        pytest.raises(TrainingError, match=r"differ by .* stopped before an update") as caught,
    ):
        check_group_pass(model, fault(packed), prompt, RESPONSES, dtype=dtype, temperature=0.7)
    assert prompt.study_id in str(caught.value)


def test_features_without_their_deeper_levels_are_seen(tiny: Tiny) -> None:
    model, (prompt,) = small_model("qwen3-vl", tiny), tiny.prompts(1)
    add_group_pass(model, temperature=0.7)
    with torch.no_grad():
        features = stock_features(model, prompt)
    width = model.get_input_embeddings().embedding_dim
    for known, is_sound in ((features, True), (features[:, :width], False)):
        packed = pack_groups(model, [prompt], [RESPONSES], features=[known])
        with nullcontext() if is_sound else pytest.raises(TrainingError, match="nats a token"):
            check_group_pass(model, packed, prompt, RESPONSES, dtype=DType.FLOAT32, temperature=0.7)


@pytest.mark.parametrize("group", ["qwen2.5-vl"], indirect=True)  # Qwen3-VL has no windows
def test_windows_that_are_cut_wrongly_are_seen(
    group: tuple[Any, PackedGroups, EncodedPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours lets a patch see half of its window; the stock tower beside it sees the whole one."""
    model, packed, prompt = group
    right = window_attention._windows
    monkeypatch.setattr(
        window_attention,
        "_windows",
        lambda bounds: replace(
            right(bounds), counts=tuple((2 * n, length // 2) for n, length in right(bounds).counts)
        ),
    )
    with pytest.raises(TrainingError, match="stopped before an update"):
        check_group_pass(model, packed, prompt, RESPONSES, dtype=DType.FLOAT32, temperature=0.7)


@pytest.mark.slow
def test_a_run_stops_before_its_first_update(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = packing.prompt_positions
    monkeypatch.setattr(packing, "prompt_positions", lambda m, p: right(m, p).flip(1))
    with pytest.raises(TrainingError, match="stopped before an update"):
        run_training(tiny.train_config(tmp_path / "run"))
    assert not (tmp_path / "run/metrics.jsonl").exists()
