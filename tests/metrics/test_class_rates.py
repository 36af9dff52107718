"""Class rates: counted by hand, kept in a file, and refused with a reason."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editgrpo.config import Target
from editgrpo.errors import ConfigError, DataError, RewardError
from editgrpo.metrics.class_rates import (
    ClassRates,
    check_target,
    class_rates,
    read_class_rates,
    write_class_rates,
)
from editgrpo.reports.chexpert import FINDINGS


def four_reports() -> ClassRates:
    """Cardiomegaly in 3 of 4 reports, Edema in 1, the rest in none."""
    labels = np.zeros((4, len(FINDINGS)), dtype=np.uint8)
    labels[:3, FINDINGS.index("Cardiomegaly")] = 1
    labels[0, FINDINGS.index("Edema")] = 1
    return class_rates(labels, labeler="rules")


def test_rates_are_shares_and_an_unseen_finding_counts_half_a_report() -> None:
    rates = four_reports()
    assert rates.n == 4
    assert tuple(rates.rates) == FINDINGS
    assert rates.rates["Cardiomegaly"] == 0.75
    assert rates.rates["Edema"] == 0.25
    assert rates.rates["Fracture"] == 0.125  # 1 / (2 * 4)


def test_weights_are_inverse_rates_with_mean_one() -> None:
    weights = four_reports().weights()
    assert weights.mean() == pytest.approx(1.0)
    # Inverse rates are 4/3, 4 and twelve times 8: sum 304/3, mean 152/21.
    assert weights[FINDINGS.index("Edema")] == pytest.approx(4 / (152 / 21))
    assert weights[FINDINGS.index("Cardiomegaly")] == pytest.approx((4 / 3) / (152 / 21))


@pytest.mark.parametrize("shape", [(0, 14), (3, 13), (14,)])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RewardError, match="shape"):
        class_rates(np.zeros(shape, dtype=np.uint8), labeler="rules")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    write_class_rates(path, four_reports())
    assert read_class_rates(path) == four_reports()
    assert json.loads(path.read_text())["labeler"] == "rules"


def test_rates_count_for_the_sections_that_they_were_counted_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rates.json"
    write_class_rates(path, replace(four_reports(), target=Target.IMPRESSION))
    assert read_class_rates(path).target is Target.IMPRESSION
    check_target(path, Target.IMPRESSION)
    with pytest.raises(ConfigError) as caught:
        check_target(path, Target.BOTH)
    assert str(caught.value) == (
        f"{path}: class rates of impression, but findings+impression is scored; write them with "
        "`editgrpo annotate STUDIES --target findings+impression --class-rates FILE`"
    )
    assert caplog.messages == []


def test_rates_that_say_nothing_of_sections_are_taken_for_those_of_findings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rates.json"
    write_class_rates(path, four_reports())
    assert "target" not in json.loads(path.read_text())
    check_target(path, Target.FINDINGS)
    assert caplog.messages == []
    check_target(path, Target.IMPRESSION)
    (line,) = caplog.messages
    assert line.startswith(
        f"{path}: does not say that it is of impression; write it with `editgrpo"
    )


def changed(**fields: Any) -> dict[str, Any]:
    rates = four_reports()
    return {"labeler": "rules", "n": 4, "rates": dict(rates.rates)} | fields


def with_rate(finding: str, rate: Any) -> dict[str, Any]:
    return changed(rates=dict(four_reports().rates) | {finding: rate})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "not a JSON object"),
        ({"labeler": "rules", "n": 4}, "lacks 'rates'"),
        (changed(extra=1), "has 'extra'"),
        (changed(labeler=""), "labeler must be"),
        (changed(n=0), "n must be"),
        (changed(target="report"), "target must be one of findings, impression, findings"),
        (changed(n=True), "n must be"),
        (changed(rates=[]), "rates must be an object"),
        (changed(rates={}), "lacks 'Enlarged Cardiomediastinum'"),
        (with_rate("Effusion", 0.5), "has 'Effusion'"),
        (with_rate("Edema", 0), "rates.Edema must be"),
        (with_rate("Edema", 1.5), "rates.Edema must be"),
        (with_rate("Edema", "0.5"), "rates.Edema must be"),
        (with_rate("Edema", True), "rates.Edema must be"),
        (with_rate("Edema", float("nan")), "rates.Edema must be"),
    ],
)
def test_a_wrong_file_is_refused_by_field(tmp_path: Path, value: Any, message: str) -> None:
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=message) as caught:
        read_class_rates(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}"])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rates.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a JSON file"):
        read_class_rates(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_class_rates(tmp_path / "absent.json")
