"""The question to CRIMSON's judge: ours, or the user's from a file."""

import json
from pathlib import Path

import pytest

from editgrpo.errors import ConfigError
from editgrpo.metrics.crimson.prompt import load_prompt
from editgrpo.metrics.crimson.score import SEVERITY_WEIGHTS, SIGNIFICANCE_WEIGHTS, read_judgement


def test_our_wording_asks_for_what_is_scored() -> None:
    prompt = load_prompt(None)
    question = prompt.question("The $reference, 100 %.", "A candidate.")
    assert "The $reference, 100 %." in question
    assert "\nCandidate report:\nA candidate.\n" in question
    for word in [*SIGNIFICANCE_WEIGHTS, *SEVERITY_WEIGHTS]:
        assert f'"{word}"' in question
    # The form that it shows is one that is read.
    form = read_judgement(question)
    assert form is not None
    assert json.dumps(form["errors"]["missing_findings"]) == '["R2"]'
    assert prompt.system
    assert prompt.name.startswith("own:")


def test_a_given_wording_is_taken_word_for_word(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text(
        "You judge.\n---\nFor $$5 {{compare}} $candidate\n---\nwith $reference", "utf-8"
    )
    prompt = load_prompt(str(file))
    assert prompt.system == "You judge."
    assert prompt.question("R", "C") == "For $5 {{compare}} C\n---\nwith R"
    assert prompt.name.startswith("given:")


def test_without_a_line_of_dashes_there_is_no_system_message(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("$reference or $candidate", "utf-8")
    prompt = load_prompt(str(file))
    assert (prompt.system, prompt.question("a", "b")) == ("", "a or b")


@pytest.mark.parametrize("text", ["$reference", "$reference $candidate $age", "$5 $reference"])
def test_a_wording_without_both_reports_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"prompt.txt must name \$reference and \$candidate"):
        load_prompt(str(file))


def test_a_wording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"clinical.crimson_prompt: .*gone.txt cannot be read"):
        load_prompt(str(tmp_path / "gone.txt"))
