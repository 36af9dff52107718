"""The packaged ontology and the checks on one."""

import copy
from importlib import resources
from typing import Any

import pytest
import yaml

from editgrpo.errors import ConfigError
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.reports.ontology import Kind, build_ontology, load_ontology
from editgrpo.reports.tokens import tokenize

DATA = yaml.safe_load(resources.files("editgrpo.reports").joinpath("ontology.yaml").read_text())


def changed(**entry: Any) -> dict[str, Any]:
    data = copy.deepcopy(DATA)
    data["findings"]["edema"].update(entry)
    return data


def test_every_chexpert_finding_can_be_found() -> None:
    covered = {index for concept in load_ontology().concepts for index in concept.classes}
    assert covered == set(range(len(FINDINGS) - 1))  # No Finding follows from the others


def test_names_of_findings_and_anatomy_are_unique() -> None:
    names = [c.name for c in load_ontology().concepts if c.kind is not Kind.SYSTEM]
    assert len(names) == len(set(names))


def test_a_new_synonym_is_found() -> None:
    ontology = build_ontology(changed(present=["wet lung"]))
    ((start, end, sense),) = ontology.findings.matches(tokenize("A wet lung."))
    assert (start, end, sense.concept.name, sense.denied) == (1, 3, "edema", False)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"system": "lung"}, "'edema': system 'lung'"),
        ({"chexpert": ["Oedema"]}, "'edema': 'Oedema' is not one of"),
        ({"type": "illness"}, "'edema': type 'illness'"),
        ({"present": ["(wet"]}, "does not parse"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        build_ontology(changed(**entry))
