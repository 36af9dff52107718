"""Temporal F1 against RadEval 2.2.1.

RadEval adds what Stanza's radiology model finds, whose weights are not at hand. Its value is asked
twice: with a model that finds nothing and with one that calls every word an observation. Where both
agree, no model could change it, and ours is that value.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editgrpo.metrics.temporal_f1 import KEYWORDS, TemporalF1, temporal_words
from tests.parity.clinical.conftest import OracleRunner
from tests.parity.clinical.texts import AWKWARD, iu_findings

pytestmark = pytest.mark.parity

PIECES = [*sorted(KEYWORDS), "New", "STABLE", "effusion", "newly", "unstable"]
SIGNS = [" ", ", ", ". ", "-", "_", "\n", " (", ") ", ";", ":"]


def thrown_together(count: int, signs: list[str]) -> list[str]:
    draw = random.Random(7)
    return [
        "".join(draw.choice(PIECES) + draw.choice(signs) for _ in range(draw.randint(0, 6)))
        for _ in range(count)
    ]


def ours(asked: dict[str, Any]) -> list[float]:
    metric = TemporalF1()
    sides = (metric.read(asked[side]) for side in ("candidates", "references"))
    return metric.compare(*sides).tolist()


def ask(run_oracle: OracleRunner, texts: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = {"candidates": texts, "references": [*texts[1:], texts[0]]}
    return asked, run_oracle(Path("temporal_f1.py"), asked, package="radeval")


def test_scores_are_the_same_whatever_a_model_finds(run_oracle: OracleRunner) -> None:
    asked, said = ask(run_oracle, [*thrown_together(300, SIGNS), *AWKWARD])
    assert said["nothing"] == said["everything"]
    np.testing.assert_allclose(ours(asked), said["nothing"]["scores"], rtol=1e-12)
    assert [sorted(temporal_words(text)) for text in asked["candidates"]] == said["nothing"][
        "words"
    ]


def test_where_cleaning_glues_words_it_is_the_value_without_the_model(
    run_oracle: OracleRunner,
) -> None:
    asked, said = ask(run_oracle, thrown_together(100, [" ", "/", "*", "'"]))
    np.testing.assert_allclose(ours(asked), said["nothing"]["scores"], rtol=1e-12)
    assert said["nothing"] != said["everything"]


def test_real_reports_do_not_ask_for_the_model(run_oracle: OracleRunner) -> None:
    asked, said = ask(run_oracle, list(iu_findings(4000)))
    differ = [
        one != other
        for one, other in zip(said["nothing"]["words"], said["everything"]["words"], strict=True)
    ]
    assert not any(differ)  # no report of IU X-Ray has such a place
    np.testing.assert_allclose(ours(asked), said["nothing"]["scores"], rtol=1e-12)
