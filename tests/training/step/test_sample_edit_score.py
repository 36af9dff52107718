"""Groups whose composition changes with the step or the samples, in runs of a small model."""

import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editgrpo.config import Anneal, EditConfig, EditWhen, RolloutConfig, TrainConfig
from editgrpo.edits import EditRule
from editgrpo.edits.similarity import missing_entities
from editgrpo.edits.splice import complete_spans
from editgrpo.errors import RewardError, TrainingError
from editgrpo.files import read_jsonl
from editgrpo.reports import AnnotatedReport, load_annotator
from editgrpo.training.step.responses import Group, Kind
from editgrpo.training.step.step_group import show
from editgrpo.training.train import run_training
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import PLAIN, Tiny, make_trainer

pytestmark = pytest.mark.slow

UNSAID = EditConfig(when=EditWhen.UNSAID)
COUNT = 12


def config_of(tiny: Tiny, output: Path, *, group: int = 4, **changes: Any) -> TrainConfig:
    """Return a run with groups that have room for an edit."""
    rollout = RolloutConfig(group_size=group, max_completion_tokens=48)
    return tiny.train_config(output, rollout=rollout, **changes)


def groups_of(trainer: Any, step: int = 0) -> list[Group]:
    """Return the groups of the first studies, and check that each has all its responses."""
    studies = [trainer._setup.studies[k] for k in range(COUNT)]
    groups = trainer._rounds.scored(step, show(studies, trainer._setup.encoder, None))
    assert [one.study for one in groups] == studies
    assert [one.scored.group.study_id for one in groups] == [study.study_id for study in studies]
    assert {len(one.row_ids) for one in groups} == {4}
    return [one.scored.group for one in groups]


@pytest.fixture(scope="module", params=[1, 3], ids=["one part", "three parts"])
def on_demand(
    request: pytest.FixtureRequest, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> list[Group]:
    folder = tmp_path_factory.mktemp("unsaid")
    config = config_of(tiny, folder, edit=UNSAID, rollout_parts=request.param)
    return groups_of(make_trainer(config))


def unsaid_texts(group: Group) -> set[str]:
    """Return the reference sentences with a finding that the first two samples leave out."""
    annotator = load_annotator("rules")
    (reference,) = annotator.annotate([group.reference])
    left_out = []
    for one in group.responses[:2]:
        spans = complete_spans(annotator.split(one.text), one.text, truncated=one.is_truncated)
        whole = AnnotatedReport(annotator.annotate([one.text])[0].sentences[: len(spans)])
        missing = missing_entities(whole, reference, threshold=0.6)
        left_out.append({id(entity) for entity in missing})
    common = left_out[0] & left_out[1]
    return {s.text for s in reference.sentences if any(id(e) in common for e in s.entities)}


def test_a_group_is_edited_only_where_all_its_samples_leave_something_out(
    on_demand: list[Group],
) -> None:
    edited = 0
    for group in on_demand:
        unsaid = unsaid_texts(group)
        kinds = [response.kind for response in group.responses]
        assert kinds == [Kind.SAMPLED] * 2 + [Kind.EDITED if unsaid else Kind.SAMPLED] * 2
        for response in group.responses[2:] if unsaid else ():
            assert response.edit is not None
            edited += not response.is_unused_edit
            assert response.is_unused_edit or any(text in response.text for text in unsaid)
            assert response.edit.rule in (EditRule.MISLABELLED, EditRule.AUGMENTATION)
    assert 4 <= edited < 2 * COUNT


def test_the_control_edits_as_many_groups_and_others(tiny: Tiny, tmp_path: Path) -> None:
    control = EditConfig(when=EditWhen.AS_MANY)
    chosen: dict[EditWhen, list[list[bool]]] = {}
    for edit in (UNSAID, control):
        trainer = make_trainer(config_of(tiny, tmp_path, edit=edit))
        chosen[edit.when] = [
            [group.responses[3].kind is Kind.EDITED for group in groups_of(trainer, step)]
            for step in range(3)
        ]
    needed, drawn = chosen[EditWhen.UNSAID], chosen[EditWhen.AS_MANY]
    assert [sum(step) for step in needed] == [sum(step) for step in drawn]
    assert needed != drawn


def test_a_group_without_edits_is_dr_grpos(
    tiny: Tiny, tmp_path: Path, on_demand: list[Group]
) -> None:
    """The second round draws the rows that Dr. GRPO would have drawn."""
    plain = groups_of(make_trainer(config_of(tiny, tmp_path, edit=PLAIN)))
    papers = groups_of(make_trainer(config_of(tiny, tmp_path, edit=EditConfig())))
    whole = [k for k, group in enumerate(on_demand) if group.responses[3].kind is Kind.SAMPLED]
    assert whole
    for number, group in enumerate(on_demand):
        assert group.responses[:2] == papers[number].responses[:2]
        if number in whole:
            assert group == plain[number]


def test_what_cannot_be_annotated_is_dropped_as_ever(tiny: Tiny, tmp_path: Path) -> None:
    """Also where a group has three samples and one edited version."""
    edit = EditConfig(when=EditWhen.UNSAID, share=0.5)
    trainer = make_trainer(config_of(tiny, tmp_path, edit=edit))

    class Failing:
        name = "failing"
        rules = load_annotator("rules")
        split = staticmethod(rules.split)

        def annotate(self, texts: Any) -> Any:
            if trainer._setup.studies[1].findings in texts:
                raise RewardError("out of order")
            return self.rules.annotate(texts)

    groups = replace(trainer._setup.groups, annotator=Failing())
    trainer._rounds = replace(trainer._rounds, groups=groups)
    lost = trainer._setup.studies[1].findings
    found = groups_of(trainer)
    assert [group.failure is not None for group in found] == [g.reference == lost for g in found]


def test_annealed_groups_go_from_editgrpos_to_dr_grpos(tiny: Tiny, tmp_path: Path) -> None:
    """Two edited versions of four, then one, then none: (1 + cos 90) / 2 of 2 at step 1 of 4."""
    edit = EditConfig(anneal=Anneal.COSINE, anneal_until=0.5)
    trainer = make_trainer(config_of(tiny, tmp_path, edit=edit))
    plain = make_trainer(config_of(tiny, tmp_path, edit=PLAIN))
    for step, edited in ((0, 2), (1, 1), (2, 0), (3, 0)):
        for group, sampled in zip(groups_of(trainer, step), groups_of(plain, step), strict=True):
            kinds = [response.kind for response in group.responses]
            assert kinds == [Kind.SAMPLED] * (4 - edited) + [Kind.EDITED] * edited
            assert group.responses[: 4 - edited] == sampled.responses[: 4 - edited]
            assert [r.source for r in group.responses[4 - edited :]] == list(range(edited))


def test_a_run_with_both_says_what_it_edited_and_resumes_to_the_byte(
    tiny: Tiny, tmp_path: Path
) -> None:
    edit = EditConfig(when=EditWhen.UNSAID, anneal=Anneal.COSINE, anneal_until=0.75)

    def stop(metrics: Mapping[str, float], _: Mapping[str, float]) -> None:
        if metrics["step"] == 1:
            signal.raise_signal(signal.SIGTERM)

    run_training(config_of(tiny, tmp_path / "whole", edit=edit, group=8))
    stopped = config_of(tiny, tmp_path / "stopped", edit=edit, group=8)
    with pytest.raises(TrainingError, match="SIGTERM after step 2"):
        run_training(stopped, on_step=stop)
    run_training(stopped, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    rows = [row for _, row in read_jsonl(tmp_path / "whole/metrics.jsonl")]
    # The end is after 3 of 4 steps: (1 + cos 60) / 2 = .75 of 4 versions, then .25 of them.
    assert [row["edits/share"] for row in rows] == [1.0, 0.75, 0.25, 0.0]
    assert all(0 <= row["edits/groups"] <= 1 for row in rows)
    assert rows[3]["edits/groups"] == 0 and "reward/edited/mean" not in rows[3]
    assert 0 < sum(row["edits/groups"] for row in rows[:3]) < 3
