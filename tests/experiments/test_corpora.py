"""Tests of what a corpus may change of a profile."""

from pathlib import Path

import pytest
from experiments.corpora import NAMED_PROFILES, Corpus, write_corpus

from editgrpo.data.prepared.store import StudySet
from editgrpo.demo.sites import DEMO_PROFILES
from editgrpo.errors import ConfigError
from editgrpo.phantom.findings import Kind, Topic


def test_what_is_not_named_keeps_its_value() -> None:
    changes = {
        "prevalence": {"fracture": 0.04},
        "phrasing": {"phrase_decay": 0.3, "normal_shares": {"bones": 1}},
        "rendering": {"noise": [0.01, 0.02]},
        "burdened_share": 0.5,
    }
    site = Corpus(profile="demo-a", changes=changes).site()
    before = NAMED_PROFILES["demo-a"]
    assert site.prevalence == {**before.prevalence, Kind.FRACTURE: 0.04}
    assert site.phrasing.phrase_decay == 0.3
    assert site.phrasing.terse_share == before.phrasing.terse_share
    assert site.phrasing.normal_shares == {**before.phrasing.normal_shares, Topic.BONES: 1.0}
    assert site.rendering.noise == (0.01, 0.02)
    assert site.rendering.rotation_deg == before.rendering.rotation_deg
    assert site.burdened_share == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prevalnce": {}}, "did you mean 'prevalence'"),
        ({"prevalence": {"fractur": 0.1}}, "did you mean 'fracture'"),
        ({"prevalence": {"fracture": "often"}}, "must be a number"),
        ({"prevalence": 0.1}, "must be a mapping"),
        ({"phrasing": {"thorough": 1}}, "must be bool"),
        ({"rendering": {"noise": [0.1]}}, "a list of 2"),
        ({"rendering": {"noise": [0.1, True]}}, "must be a number"),
        ({"prevalence": {"fracture": 0.9}}, "burdened_share"),
    ],
)
def test_a_wrong_change_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Corpus(profile="demo-a", changes=changes).site()


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'demo-a'"):
        Corpus(profile="demo-aa").site()


def test_a_balanced_corpus_keeps_films_and_words_alone() -> None:
    corpus = Corpus(profile="demo-b", changes={"phrasing": {"phrase_decay": 0.5}})
    site = corpus.balanced(studies=10, seed=1, shares=(1.0, 0.0, 0.0)).site()
    assert set(site.prevalence.values()) == {0.2}
    assert site.phrasing.phrase_decay == 0.5
    assert site.rendering == NAMED_PROFILES["demo-b"].rendering


def test_equal_corpora_lie_in_one_folder_and_others_do_not(tmp_path: Path) -> None:
    one = Corpus(profile="demo-a", studies=6)
    place = write_corpus(one, tmp_path)
    stamp = (place / "prepared.json").stat().st_mtime_ns
    assert write_corpus(Corpus(profile="demo-a", studies=6), tmp_path) == place
    assert (place / "prepared.json").stat().st_mtime_ns == stamp
    assert len(StudySet.load(place)) == 6
    others = [
        Corpus(profile="demo-a", studies=7),
        Corpus(profile="demo-a", studies=6, seed=1),
        Corpus(profile="demo-a", studies=6, shares=(0.5, 0.0, 0.5)),
        Corpus(profile="demo-a", studies=6, changes={"burdened_share": 0.46}),
        Corpus(profile="demo-b", studies=6),
    ]
    assert len({corpus.folder_name() for corpus in [one, *others]}) == 6


def test_a_change_to_the_profile_in_the_code_changes_the_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else studies of an older profile would be taken for those of the new one."""
    before = Corpus(profile="demo-a").folder_name()
    monkeypatch.setitem(NAMED_PROFILES, "demo-a", DEMO_PROFILES["B"])
    assert Corpus(profile="demo-a").folder_name() != before
