"""Studies drawn when they are asked for: in which order, how often, and from where they go on."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from editgrpo.config import PromptOrder, RolloutConfig, TrainConfig
from editgrpo.data.study import Split, Study
from editgrpo.errors import ConfigError, TrainingError
from editgrpo.training.step.batches import StepSampler
from editgrpo.training.step.prompt_stream import PromptStream, prompt_stream

STUDIES = 10
SAMPLER = StepSampler(STUDIES, steps=3, prompts_per_step=4, seed=0)


def stream(*, is_by_hardness: bool = False) -> PromptStream:
    return PromptStream(SAMPLER, studies=STUDIES, seed=0, is_by_hardness=is_by_hardness)


def steps_of(prompts: PromptStream, steps: int, count: int = 4) -> list[list[int]]:
    drawn = []
    for _ in range(steps):
        prompts.begin_step()
        drawn.append(prompts.draw(count))
    return drawn


def test_without_results_it_is_the_order_of_the_seed() -> None:
    """Five steps of four are two passes over ten: no study meets itself within a step of these."""
    wanted = list(islice(SAMPLER.endless(), 20))
    prompts = stream()
    drawn = [study for step in steps_of(prompts, 5, count=2) for study in step]
    assert drawn == wanted[:10] and prompts.passes == 1.0
    assert sorted(drawn) == list(range(STUDIES))
    prompts.begin_step()
    assert prompts.draw(10) == wanted[10:] and prompts.passes == 2.0


def test_a_step_has_no_study_twice_and_runs_out_of_them() -> None:
    prompts = stream()
    prompts.begin_step()
    first, second, third = prompts.draw(4), prompts.draw(4), prompts.draw(4)
    assert sorted([*first, *second, *third]) == list(range(STUDIES))
    assert len(third) == 2 and prompts.draw(1) == []
    prompts.begin_step()
    assert len(prompts.draw(4)) == 4


def test_a_study_without_signal_is_taken_at_a_half_then_a_quarter_of_its_turns() -> None:
    """Over 2,000 passes: 1,000 and 500 turns expected; 4 standard deviations are 89 and 77."""
    prompts = stream(is_by_hardness=True)
    prompts.learn([(3, False), (7, False)])
    prompts.learn([(7, False), (5, False), (5, True)])  # 5 has had one again
    counts = Counter[int]()
    while prompts.passes < 2000:
        prompts.begin_step()
        counts.update(prompts.draw(1))
    others = {counts[study] for study in range(STUDIES) if study not in (3, 7)}
    assert others <= {2000, 2001}
    assert counts[3] == pytest.approx(1000, abs=90)
    assert counts[7] == pytest.approx(500, abs=78)


def test_no_study_is_forgotten() -> None:
    """After 40 groups without a signal it still has a turn in 32: 125 of 4,000 are expected."""
    prompts = stream(is_by_hardness=True)
    for _ in range(40):
        prompts.learn([(3, False)])
    drawn = Counter[int]()
    while prompts.passes < 4000:
        prompts.begin_step()
        drawn.update(prompts.draw(1))
    assert drawn[3] == pytest.approx(125, abs=44)  # 4 standard deviations


def test_results_change_nothing_where_hardness_is_not_asked_for() -> None:
    one, other = stream(), stream()
    other.learn([(study, False) for study in range(STUDIES)])
    assert steps_of(one, 6) == steps_of(other, 6)


@pytest.mark.parametrize("is_by_hardness", [False, True])
def test_it_goes_on_from_where_it_stood(tmp_path: Path, is_by_hardness: bool) -> None:
    prompts = stream(is_by_hardness=is_by_hardness)
    steps_of(prompts, 3)
    prompts.learn([(study, study % 2 == 0) for study in range(STUDIES)])
    prompts.save(tmp_path)
    wanted = steps_of(prompts, 20)
    again = stream(is_by_hardness=is_by_hardness)
    again.restore(tmp_path)
    assert steps_of(again, 20) == wanted
    assert again.passes == prompts.passes
    assert steps_of(stream(is_by_hardness=is_by_hardness), 20) != wanted


def test_a_checkpoint_that_does_not_say_where_it_stood_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"prompts\.json: is missing; delete this checkpoint"):
        stream().restore(tmp_path)
    (tmp_path / "prompts.json").write_text('{"turns": 3}')
    with pytest.raises(TrainingError, match=r"prompts\.json: .*delete this checkpoint"):
        stream().restore(tmp_path)


def test_only_runs_whose_results_decide_have_a_stream() -> None:
    config = TrainConfig(prompts_per_step=2)
    texts = ["The heart is enlarged.", "The lungs are clear.", "No pneumothorax."]
    studies = [
        Study(study_id=text, patient_id="p", split=Split.TRAIN, images=(), findings=text)
        for text in texts
    ]
    assert prompt_stream(config, studies) is None
    assert prompt_stream(replace(config, prompt_order=PromptOrder.BY_FINDING), studies) is None
    dynamic = replace(config, rollout=RolloutConfig(dynamic_sampling=True))
    assert prompt_stream(dynamic, studies) is not None
    hard = replace(config, prompt_order=PromptOrder.BY_HARDNESS)
    assert prompt_stream(hard, studies) is not None
    with pytest.raises(ConfigError, match="prompts_per_step is 4, but there are 3 training"):
        prompt_stream(replace(hard, prompts_per_step=4), studies)
