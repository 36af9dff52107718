"""A study keeps what belongs to it through a step."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from editgrpo.data.study import Split, Study
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.step import step_group
from editgrpo.training.step.responses import Group, Kind, Response
from editgrpo.training.step.scoring import ScoredGroup
from editgrpo.training.step.step_group import StepGroup, plan_update
from tests.training.tiny_run import Tiny, make_trainer, step_passes


def group_of(
    number: int, *, tokens: Sequence[int], responses: Sequence[tuple[int, ...]]
) -> StepGroup:
    """Return the group of a study without images."""
    name = f"study-{number}"
    prompt = EncodedPrompt(
        study_id=name,
        input_ids_T=torch.tensor(tokens),
        is_image_token_T=torch.zeros(len(tokens), dtype=torch.bool),
        pixel_values=None,
        image_grid_thw=None,
    )
    answers = tuple(Response(kind=Kind.SAMPLED, token_ids=ids, text="") for ids in responses)
    scored = ScoredGroup(
        group=Group(study_id=name, reference="", responses=answers),
        totals_G=(0.0,) * len(answers),
        components={},
        advantages_G=(0.0,) * len(answers),
    )
    study = Study(study_id=name, patient_id=name, split=Split.TRAIN, findings="Clear.", images=())
    return StepGroup(study=study, prompt=prompt, features=None, scored=scored)


def test_a_group_counts_its_prompt_once() -> None:
    """By hand: three columns of the prompt but its last token, and 2 + 1 response tokens."""
    assert group_of(0, tokens=[1, 2, 3, 4], responses=[(5, 6), (7,)]).columns == 3 + 3


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False], ids=["features are kept", "none are kept"])
def test_a_study_keeps_its_prompt_its_features_and_its_responses(
    tiny: Tiny, tmp_path: Path, frozen: bool
) -> None:
    """In parts, and planned into passes in another order than that of the step."""
    model = tiny.model(freeze_vision_tower=frozen)
    config = tiny.train_config(tmp_path, model=model, rollout_parts=3, tokens_per_pass=400)
    trainer = make_trainer(config)
    passes = step_passes(trainer, 4)
    groups = [group for one in passes for group in one.groups]
    assert len(passes) > 1
    assert {group.study.study_id for group in groups} == {
        trainer._setup.studies[k].study_id for k in range(4)
    }
    for group in groups:
        encoded = trainer._setup.encoder.encode(group.study)
        assert group.scored.group.study_id == group.prompt.study_id == group.study.study_id
        assert group.scored.group.reference == group.study.findings
        assert torch.equal(group.prompt.input_ids_T, encoded.input_ids_T)
        assert (group.features is None) == (group.prompt.pixel_values is not None) == (not frozen)
        if frozen:
            (own,) = trainer._features.of([encoded])
            assert torch.equal(group.features, own)


@pytest.mark.parametrize(
    ("lengths", "expected"), [([2, 9, 4, 5], [[0, 1], [2, 3]]), ([6, 3, 3, 1], [[0, 3], [1, 2]])]
)
def test_processes_make_passes_of_equally_many_groups(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], expected: list[list[int]]
) -> None:
    """By hand: the longest of 9 | 5 | 4 | 2 and 6 | 3 | 3 | 1 are 9 | 5 | 4 | 2; within 12 tokens
    the longest goes with the fourth and the second with the third. Alone the second process would
    pack 6 + 3 + 3 | 1, and the loss, which gathers a number a response, would break off."""
    both = torch.tensor([[9, 5, 4, 2], [6, 3, 3, 1]])
    monkeypatch.setattr(step_group, "gather", lambda own: both)
    groups = [
        group_of(number, tokens=[0] * length, responses=[(7,)])
        for number, length in enumerate(lengths)
    ]
    passes = plan_update(groups, 12, device=torch.device("cpu"))
    assert passes == [[groups[number] for number in one] for one in expected]
