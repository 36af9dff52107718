"""How many responses of a group are sampled and edited, against values worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from editgrpo.config import (
    Anneal,
    EditConfig,
    EditLevel,
    EditSource,
    EditWhen,
    RolloutConfig,
    RolloutEngine,
    TrainConfig,
)
from editgrpo.errors import ConfigError
from editgrpo.training.step.edit_schedule import EditSchedule, check_edit_sources, check_edits
from editgrpo.training.step.records import GroupRows, ResponseRow
from editgrpo.training.step.responses import Kind


def schedule(group_size: int = 10, steps: int = 300, **edit: Any) -> EditSchedule:
    rollout = RolloutConfig(group_size=group_size)
    return EditSchedule(TrainConfig(edit=EditConfig(**edit), rollout=rollout, steps=steps))


@pytest.mark.parametrize("step", [0, 299])
def test_the_papers_half_is_edited_at_every_step(step: int) -> None:
    papers = schedule()
    assert papers.edited(step) == 5
    assert papers.first_rows(step) == range(5) and not papers.further_rows(step)
    assert papers.metrics(step, []) == {}


@pytest.mark.parametrize(
    ("step", "share", "edited"),
    [
        (0, 1.0, 5),
        (50, 0.75, 4),  # a third of the way: (1 + cos 60) / 2; 3.75 of 5
        (75, 0.5, 3),  # half: 2.5 is rounded up
        (100, 0.25, 1),  # two thirds: 1.25
        (125, 0.0669873, 0),  # five sixths: (1 + cos 150) / 2; 0.33 of 5
        (150, 0.0, 0),
        (299, 0.0, 0),
    ],
)
def test_the_share_falls_by_half_a_cosine(step: int, share: float, edited: int) -> None:
    """To 0 at half of 300 steps, and what is not edited is sampled: a group keeps its ten."""
    annealed = schedule(anneal=Anneal.COSINE, anneal_until=0.5)
    assert annealed.share(step) == pytest.approx(share, abs=1e-6)
    assert annealed.edited(step) == edited
    assert annealed.first_rows(step) == range(10 - edited)
    assert annealed.metrics(step, []) == {"edits/share": edited / 5}


def test_the_cosine_begins_at_the_share_and_ends_where_it_is_told() -> None:
    annealed = schedule(share=0.8, anneal=Anneal.COSINE, anneal_until=1)
    assert annealed.share(0) == 0.8 and annealed.edited(0) == 4
    assert annealed.share(150) == pytest.approx(0.4)
    assert 0 < annealed.share(299) < 1e-4


@pytest.mark.parametrize(
    ("share", "group_size", "edited"),
    [(0.0, 10, 0), (0.2, 10, 1), (0.5, 10, 3), (1.0, 2, 1), (0.5, 2, 1), (0.4, 2, 0), (1.0, 8, 4)],
)
def test_a_constant_share_is_rounded_to_whole_versions(
    share: float, group_size: int, edited: int
) -> None:
    constant = schedule(group_size, share=share)
    assert {constant.edited(step) for step in (0, 7, 299)} == {edited}


@pytest.mark.parametrize(("level", "rows"), [(EditLevel.REPORT, 9), (EditLevel.NONE, 10)])
def test_other_levels_know_no_share(level: EditLevel, rows: int) -> None:
    other = schedule(level=level, when=EditWhen.UNSAID, share=0.2, anneal=Anneal.COSINE)
    assert other.first_rows(0) == range(rows) and not other.further_rows(0)
    assert other.metrics(0, []) == {}


def test_on_demand_the_rest_of_a_group_is_sampled_second() -> None:
    on_demand = schedule(when=EditWhen.UNSAID)
    assert on_demand.first_rows(0) == range(5) and on_demand.further_rows(0) == range(5, 10)
    fewer = replace(on_demand.config.edit, share=0.4)
    both = EditSchedule(replace(on_demand.config, edit=fewer))
    assert both.first_rows(0) == range(8) and both.further_rows(0) == range(8, 10)


def rows(*kinds: Kind, is_dropped: bool = False) -> GroupRows:
    row = ResponseRow(
        kind=Kind.SAMPLED,
        total=1.0,
        components={},
        advantage=0.0,
        length=3,
        is_truncated=False,
        treatment=None,
        gain=0.0,
        is_unused_edit=False,
    )
    return GroupRows(is_dropped=is_dropped, rows=tuple(replace(row, kind=kind) for kind in kinds))


def test_the_share_of_edited_groups_is_of_those_that_were_scored() -> None:
    groups = [
        rows(Kind.SAMPLED, Kind.EDITED),
        rows(Kind.SAMPLED, Kind.SAMPLED),
        rows(Kind.SAMPLED, Kind.SAMPLED),
        rows(is_dropped=True),
    ]
    assert schedule(when=EditWhen.UNSAID).metrics(0, groups) == {
        "edits/groups": pytest.approx(1 / 3)
    }
    assert schedule(when=EditWhen.UNSAID).metrics(0, groups[3:]) == {}


@pytest.mark.parametrize("engine", [RolloutEngine.VLLM_COLOCATE, RolloutEngine.VLLM_SERVER])
def test_vllm_cannot_sample_on_demand(engine: RolloutEngine) -> None:
    rollout = RolloutConfig(engine=engine)
    with pytest.raises(ConfigError) as error:
        check_edits(TrainConfig(edit=EditConfig(when=EditWhen.UNSAID), rollout=rollout))
    assert str(error.value) == (
        f"edit.when is 'unsaid', but rollout.engine '{engine}' samples as often for every study; "
        "choose edit.when 'always' or rollout.engine 'native'"
    )
    check_edits(TrainConfig(edit=EditConfig(anneal=Anneal.COSINE), rollout=rollout))
    no_edits = EditConfig(level=EditLevel.NONE, when=EditWhen.UNSAID)
    check_edits(TrainConfig(edit=no_edits, rollout=rollout))


@pytest.mark.parametrize(
    ("name", "value"), [("share", -0.1), ("share", 1.1), ("anneal_until", 0), ("anneal_until", 1.5)]
)
def test_shares_are_shares(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"edit.{name} is {value}; it must be"):
        EditConfig(**{name: value})


def test_a_single_study_has_no_other_to_take_edits_from() -> None:
    shuffled = TrainConfig(edit=EditConfig(source=EditSource.SHUFFLED))
    with pytest.raises(ConfigError, match="there is one training study"):
        check_edit_sources(shuffled, [None])
    check_edit_sources(shuffled, [None, None])
    check_edit_sources(TrainConfig(), [None])
