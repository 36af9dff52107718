"""Groups of sampled and edited responses, with real rollouts of a small model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from editgrpo.config import AdvantageScale, EditConfig, EditLevel, EditSource, Likeness
from editgrpo.data.study import Study
from editgrpo.edits import EditRule, Origin
from editgrpo.edits.codec import ByteLevelCodec
from editgrpo.files import read_jsonl
from editgrpo.reports import AnnotatedReport, load_annotator
from editgrpo.rewards import load_reward
from editgrpo.training.policy.generation_tokens import SamplingSettings
from editgrpo.training.policy.load import load_processor
from editgrpo.training.sampling.rollouts import sample_responses
from editgrpo.training.seeds import uniform_draws
from editgrpo.training.step.groups import Group, GroupBuilder, Kind
from editgrpo.training.step.records import _rollout_record, group_rows, step_metrics
from editgrpo.training.step.scoring import score_groups
from editgrpo.training.train import run_training
from tests.training.tiny_run import PLAIN, Tiny

EOS = 2
SAMPLES = 6


@pytest.fixture(scope="module")
def studies(tiny: Tiny) -> Sequence[Study]:
    return tiny.encoder()[0][:6]


@pytest.fixture(scope="module")
def rollouts(tiny: Tiny, studies: Sequence[Study]) -> list[list[list[int]]]:
    model = tiny.load().eval()
    draws = torch.stack(
        [
            torch.stack([uniform_draws(0, s.study_id, k, count=24) for k in range(SAMPLES)])
            for s in studies
        ]
    )
    settings = SamplingSettings(max_tokens=24, eos_token_ids=(EOS,), pad_token_id=0)
    return sample_responses(model, tiny.prompts(6), draws, settings)


def builder(tiny: Tiny, *, seed: int = 0, max_tokens: int = 24, level: str = "") -> GroupBuilder:
    tokenizer = load_processor(tiny.checkpoint).tokenizer
    config = EditConfig(level=EditLevel(level)) if level else EditConfig()
    return GroupBuilder(
        config=config,
        annotator=load_annotator("rules") if config.level is EditLevel.SENTENCE else None,
        codec=ByteLevelCodec(tokenizer),
        eos_token_id=EOS,
        eos_token_ids=(EOS,),
        max_tokens=max_tokens,
        seed=seed,
    )


@pytest.fixture(scope="module")
def groups(tiny: Tiny, studies: Sequence[Study], rollouts: list[list[list[int]]]) -> list[Group]:
    return builder(tiny).build(0, studies, rollouts)


@pytest.mark.slow
def test_a_group_holds_the_rollouts_and_then_an_edited_version_of_each(
    groups: list[Group], rollouts: list[list[list[int]]]
) -> None:
    for group, sampled in zip(groups, rollouts, strict=True):
        kinds = [response.kind for response in group.responses]
        assert kinds == [Kind.SAMPLED] * SAMPLES + [Kind.EDITED] * SAMPLES
        assert [list(r.token_ids) for r in group.responses[:SAMPLES]] == sampled
        assert [r.source for r in group.responses[SAMPLES:]] == list(range(SAMPLES))


def test_edited_tokens_say_the_edited_text_and_end_once(tiny: Tiny, groups: list[Group]) -> None:
    tokenizer = load_processor(tiny.checkpoint).tokenizer
    edited = [r for g in groups for r in g.responses[SAMPLES:] if not r.is_unused_edit]
    for response in edited:
        assert tokenizer.decode(response.token_ids, skip_special_tokens=True) == response.text
        assert response.token_ids[-1] == EOS and EOS not in response.token_ids[:-1]
        assert len(response.token_ids) <= 24
        assert not response.is_truncated
    rules = {r.edit.rule for r in edited if r.edit}
    assert len(rules) >= 3, f"the rollouts call for {rules} only: they test little"


def test_an_edited_text_holds_the_sentences_of_the_edit(groups: list[Group]) -> None:
    for group in groups:
        for response in group.responses[SAMPLES:]:
            assert response.edit is not None
            if response.edit.rule is EditRule.NONE or response.is_unused_edit:
                continue
            sentences = [sentence.text for sentence in response.edit.report.sentences]
            position = 0
            for sentence in sentences:
                position = response.text.index(sentence, position) + len(sentence)
            assert response.text != group.responses[response.source or 0].text


def test_what_a_truncated_rollout_left_unfinished_is_gone(groups: list[Group]) -> None:
    truncated = [
        (g.responses[r.source or 0], r)
        for g in groups
        for r in g.responses[SAMPLES:]
        if g.responses[r.source or 0].is_truncated and not r.is_unused_edit
    ]
    assert truncated, "no rollout ran into the limit: nothing is tested"
    for source, response in truncated:
        assert source.token_ids[-1] != EOS and response.token_ids[-1] == EOS


@pytest.mark.parametrize(
    ("written", "rest", "treatment", "removed"),
    [
        ("{findings} ", "There is a", "shortened", ["There is a"]),
        ("{findings} ", "", "shortened", []),  # cut behind a white space
        ("There is pulmonary edema. ", "There is a", "deletion", ["There is a"]),
        ("", "There is a", "augmentation", ["There is a"]),
    ],
)
def test_what_was_done_to_a_truncated_rollout_is_said(
    tiny: Tiny,
    studies: Sequence[Study],
    written: str,
    rest: str,
    treatment: str,
    removed: list[str],
) -> None:
    study = next(s for s in studies if "edema" not in s.findings and "lungs" not in s.findings)
    built = builder(tiny, max_tokens=60)
    text = written.format(findings=study.findings) + rest
    tokens = built.codec.encode(text.encode())
    (group,) = built.build(0, [study], [[tokens]])
    source, response = group.responses
    assert source.is_truncated and not response.is_unused_edit
    assert response.token_ids != source.token_ids and response.token_ids[-1] == EOS
    assert response.treatment == treatment
    scored = score_groups(load_reward("rules"), [group], scale=AdvantageScale.NONE)[0]
    metrics = step_metrics([group_rows(scored)])
    assert metrics[f"edits/{treatment}"] == 1.0 and metrics["edits/none"] == 0.0
    record = _rollout_record(1, scored, "best", 1)["edit"]
    assert record["rule"] == treatment and record["source_report"] == text
    found = [one["text"] for one in record["removed"]]
    assert [one for one in found if one != "There is pulmonary edema."] == removed


def test_a_finished_rollout_without_an_edit_stands_twice(
    tiny: Tiny, studies: Sequence[Study]
) -> None:
    built = builder(tiny, max_tokens=60)
    tokens = [*built.codec.encode(studies[0].findings.encode()), EOS]
    (group,) = built.build(0, studies[:1], [[tokens]])
    assert group.responses[1].treatment == "none"
    assert group.responses[1].token_ids == group.responses[0].token_ids


def test_an_edit_over_the_limit_leaves_the_rollout_standing_twice(
    tiny: Tiny, studies: Sequence[Study]
) -> None:
    """A rollout of two tokens calls for a reference sentence, for which there is no room."""
    (group,) = builder(tiny, max_tokens=2).build(0, studies[:1], [[[300, EOS]]])
    sampled, edited = group.responses
    assert edited.edit is not None and edited.edit.rule is not EditRule.NONE
    assert edited.is_unused_edit
    assert (edited.token_ids, edited.text) == (sampled.token_ids, sampled.text)
    (group,) = builder(tiny, max_tokens=24).build(0, studies[:1], [[[300, EOS]]])
    assert not group.responses[1].is_unused_edit


def test_choices_belong_to_seed_step_and_study_not_to_the_batch(
    tiny: Tiny, studies: Sequence[Study], rollouts: list[list[list[int]]], groups: list[Group]
) -> None:
    turned = builder(tiny).build(0, studies[::-1], rollouts[::-1])
    assert [g.responses for g in turned[::-1]] == [g.responses for g in groups]
    others = [builder(tiny, seed=s).build(t, studies, rollouts) for s, t in ((1, 0), (0, 1))]
    texts = [[r.text for g in built for r in g.responses] for built in (groups, *others)]
    assert texts[0] != texts[1] and texts[0] != texts[2]


def test_level_report_adds_the_reference(
    tiny: Tiny, studies: Sequence[Study], rollouts: list[list[list[int]]]
) -> None:
    tokenizer = load_processor(tiny.checkpoint).tokenizer
    for study, group in zip(
        studies, builder(tiny, level="report").build(0, studies, rollouts), strict=True
    ):
        assert len(group.responses) == SAMPLES + 1
        reference = group.responses[-1]
        assert reference.kind is Kind.REFERENCE and reference.text == study.findings
        ids = tokenizer(study.findings, add_special_tokens=False)["input_ids"]
        assert list(reference.token_ids) == [*ids, EOS]
    (group,) = builder(tiny, level="report", max_tokens=2).build(0, studies[:1], [[[300, EOS]]])
    assert group.responses[1].is_unused_edit and group.responses[1].token_ids == (300, EOS)


def test_level_none_adds_nothing(
    tiny: Tiny, studies: Sequence[Study], rollouts: list[list[list[int]]]
) -> None:
    built = builder(tiny, level="none").build(0, studies, rollouts)
    assert [[list(r.token_ids) for r in g.responses] for g in built] == rollouts


@pytest.mark.slow
def test_with_editing_off_no_edit_setting_changes_a_byte(tiny: Tiny, tmp_path: Path) -> None:
    """What is left is plain GRPO: no annotator is loaded and no draw is made for edits."""
    other = EditConfig(level=EditLevel.NONE, annotator="none such", threshold=0.9, max_edits=3)
    for name, edit in (("plain", PLAIN), ("other", other)):
        run_training(tiny.train_config(tmp_path / name, edit=edit, steps=2))
    for file in ("metrics.jsonl", "rollouts.jsonl", "model/model.safetensors"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    rows = [row for _, row in read_jsonl(tmp_path / "plain/metrics.jsonl")]
    assert not any(name.startswith(("edit", "reward/edited")) for row in rows for name in row)


@pytest.mark.slow
def test_systems_share_their_first_rollouts(tiny: Tiny, tmp_path: Path) -> None:
    """EditGRPO's K rollouts of step 1 are the first K of Dr. GRPO's: same seed, same policy."""
    from tests.training.tiny_run import first_rollouts, make_trainer

    groups = {}
    for name, edit in (("plain", PLAIN), ("edit", EditConfig())):
        trainer = make_trainer(tiny.train_config(tmp_path / name, edit=edit))
        studies = list(trainer._setup.studies[:3])
        groups[name] = first_rollouts(trainer, 0, studies)
    assert [group[:2] for group in groups["plain"]] == groups["edit"]


class FailingAnnotator:
    """The rules annotator, out of order for reports of one study."""

    name = "failing"

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._rules = load_annotator("rules")
        self.split = self._rules.split

    def annotate(self, texts: Sequence[str]) -> list[AnnotatedReport]:
        if self._reference in texts:
            raise ValueError("no words of a report may reach a message: " + self._reference)
        return self._rules.annotate(texts)


def test_an_annotator_that_fails_costs_its_group_only(
    tiny: Tiny, studies: Sequence[Study], rollouts: list[list[list[int]]], groups: list[Group]
) -> None:
    broken = studies[2]
    failing = replace(builder(tiny), annotator=FailingAnnotator(broken.findings))
    built = failing.build(0, studies, rollouts)
    lost = [study.findings == broken.findings for study in studies]  # equal reports fail alike
    assert [group.failure is not None for group in built] == lost
    # The others are edited as if nothing had happened.
    assert [g for g, bad in zip(built, lost, strict=True) if not bad] == [
        g for g, bad in zip(groups, lost, strict=True) if not bad
    ]
    (failure,) = {group.failure for group in built if group.failure is not None}
    assert failure.startswith("annotator failing: ValueError in test_groups.py, line ")
    assert broken.findings not in failure
    assert len(built[2].responses) == 2 * SAMPLES
    scored = score_groups(load_reward("rules"), built, scale=AdvantageScale.NONE)
    assert [one.is_dropped for one in scored] == lost
    assert scored[2].failure == failure and set(scored[2].advantages_G) == {0.0}


def test_shuffled_edits_come_from_another_study_and_the_reward_stays_its_own(
    tiny: Tiny, studies: Sequence[Study], rollouts: list[list[list[int]]]
) -> None:
    training = tiny.encoder()[0]
    config = EditConfig(source=EditSource.SHUFFLED)
    shuffled = replace(builder(tiny, max_tokens=60), config=config, others=training)
    built = shuffled.build(0, studies, rollouts)
    assert [group.reference for group in built] == [study.findings for study in studies]
    split = load_annotator("rules").split
    foreign = 0
    for group, study in zip(built, studies, strict=True):
        texts = [
            response.edit.report.sentences[k].text
            for response in group.responses[SAMPLES:]
            if response.edit is not None
            for k, source in enumerate(response.edit.sources)
            if source.origin is Origin.REFERENCE
        ]
        others = [other.findings for other in training if other.study_id != study.study_id]
        # One study for the whole group holds all of them.
        assert any(
            set(texts) <= {text[span.start : span.end] for span in split(text)} for text in others
        )
        foreign += any(text not in study.findings for text in texts)
    assert foreign >= 3
    # Drawn by seed, step and study, whoever is beside it.
    assert shuffled.build(0, studies[::-1], rollouts[::-1])[::-1] == built
    assert shuffled.build(1, studies, rollouts) != built


def test_of_two_studies_the_other_is_always_the_source(
    tiny: Tiny, studies: Sequence[Study]
) -> None:
    config = EditConfig(source=EditSource.SHUFFLED)
    shuffled = replace(builder(tiny, max_tokens=60), config=config, others=studies[:2])
    for step in range(12):
        built = shuffled.build(step, studies[:2], [[[EOS]], [[EOS]]])
        for group, other in zip(built, (studies[1], studies[0]), strict=True):
            assert group.responses[1].text and group.responses[1].text in other.findings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("likeness", "text", "treatment"),
    [
        (Likeness.EMBEDDINGS, "The heart is enlarged.", "none"),
        (Likeness.EMBEDDINGS, "CARDIOMEGALY is seen.", "none"),
        (Likeness.WORDS, "The heart is enlarged.", "deletion"),
        (Likeness.WORDS, "CARDIOMEGALY is seen.", "none"),
    ],
)
def test_by_words_only_equal_words_are_one_finding(
    tiny: Tiny, likeness: Likeness, text: str, treatment: str
) -> None:
    """Exact match: the annotator gives an enlarged heart and cardiomegaly one embedding."""
    study = replace(tiny.encoder()[0][0], findings="Cardiomegaly.")
    built = replace(builder(tiny, max_tokens=60), config=EditConfig(likeness=likeness))
    tokens = [*built.codec.encode(text.encode()), EOS]
    (group,) = built.build(0, [study], [[tokens]])
    assert group.responses[1].treatment == treatment
