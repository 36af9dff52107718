from collections import Counter

import pytest

from editgrpo.data.study import View
from editgrpo.data.views import FREE_TEXT, normalise_view

# Every name that the data sets are known to use, and how hospitals write them.
NAMES = {
    View.PA: [
        "PA",
        "pa",
        " P.A. ",
        "POSTERO_ANTERIOR",
        "postero-anterior",
        "posteroanterior",
        "Frontal PA",
        "PA view",
        "CHEST PA ERECT",
    ],
    View.AP: [
        "AP",
        "ANTERO_POSTERIOR",
        "antero-posterior",
        "Anteroposterior",
        "AP AXIAL",
        "AP Supine",
        "AP_horizontal",
        "AP Erect",
        "AP SEMI-UPRIGHT PORTABLE",
    ],
    View.FRONTAL: ["Frontal", "FRONTAL", "PA/AP", "Frontal (AP or PA)"],
    View.LATERAL: [
        "Lateral",
        "LATERAL",
        "lateral",
        "LL",
        "RL",
        "LAT",
        "L",
        "left lateral",
        "right lateral",
        "XTABLE LATERAL",
        "cross-table lateral",
        "latero-lateral",
        "Lateral_horizontal",
    ],
    View.OBLIQUE: [
        "OBLIQUE",
        "LAO",
        "RAO",
        "LPO",
        "RPO",
        "left anterior oblique",
        "right posterior oblique",
        "PA oblique",
        "lateral oblique",
    ],
    View.DECUBITUS: [
        "DECUBITUS",
        "LLD",
        "RLD",
        "AP LLD",
        "AP RLD",
        "PA LLD",
        "PA RLD",
        "Left lateral decubitus",
    ],
    View.OTHER: [
        "OTHER",
        "KUB",
        "PICC LINE",
        "SWIMMERS",
        "swimmer's",
        "COSTAL",
        "EXCLUDE",
        "AP RIBS",
    ],
    View.UNKNOWN: [
        "",
        " ",
        None,
        "UNKNOWN",
        "UNK",
        "N/A",
        "None",
        "nan",
        "?",
        "ERECT",
        "Erect",
        "SUPINE",
        "Recumbent",
        "Semi-upright",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "view"), [(name, view) for view, names in NAMES.items() for name in names]
)
def test_names_of_all_data_sets_are_understood(name: str | None, view: View) -> None:
    unrecognised: Counter[str] = Counter()
    assert normalise_view(name, unrecognised=unrecognised) is view
    assert not unrecognised


def test_names_that_are_not_understood_are_unknown_and_counted() -> None:
    unrecognised: Counter[str] = Counter()
    for name in ("Waters", "waters", "PA and lateral", "Frontal, lateral", None):
        assert normalise_view(name, unrecognised=unrecognised) is View.UNKNOWN
    assert unrecognised == {"WATERS": 2, "PA AND LATERAL": 1, "FRONTAL LATERAL": 1}


def test_a_name_counts_each_time_that_it_is_not_understood() -> None:
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for unrecognised in (*counts, None, counts[1]):
        normalise_view("Towne", unrecognised=unrecognised)
    assert counts == ({"TOWNE": 1}, {"TOWNE": 2})


def test_what_may_be_a_report_is_counted_without_its_words() -> None:
    unrecognised: Counter[str] = Counter()
    texts = ("No acute disease", "Stable small effusion on the left.", "A" * 30, "C spine")
    for text in texts:
        assert normalise_view(text, unrecognised=unrecognised) is View.UNKNOWN
    assert unrecognised == {FREE_TEXT: 3, "C SPINE": 1}
