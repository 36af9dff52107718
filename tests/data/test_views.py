from collections import Counter

import pytest

from editgrpo.data.study import View
from editgrpo.data.views import normalise_view

NAMES = {
    View.PA: [
        "PA",
        "pa",
        " P.A. ",
        "POSTERO_ANTERIOR",
        "postero-anterior",
        "Frontal PA",
        "PA view",
    ],
    View.AP: [
        "AP",
        "ANTERO_POSTERIOR",
        "antero-posterior",
        "AP AXIAL",
        "AP Supine",
        "AP_horizontal",
        "AP Erect",
    ],
    View.FRONTAL: ["Frontal", "FRONTAL"],
    View.LATERAL: [
        "Lateral",
        "LATERAL",
        "LL",
        "LAT",
        "L",
        "left lateral",
        "XTABLE LATERAL",
        "cross-table lateral",
    ],
    View.OBLIQUE: ["OBLIQUE", "LAO", "RAO", "LPO", "RPO"],
    View.DECUBITUS: ["DECUBITUS", "AP LLD", "PA RLD", "Left lateral decubitus"],
    View.OTHER: ["OTHER", "KUB", "PICC LINE", "SWIMMERS", "COSTAL"],
    View.UNKNOWN: ["", "UNKNOWN", "N/A", "None", "nan", "?", "ERECT", "SUPINE"],
}


@pytest.mark.parametrize(
    ("name", "view"), [(name, view) for view, names in NAMES.items() for name in names]
)
def test_names_of_all_data_sets_are_understood(name: str, view: View) -> None:
    unrecognised: Counter[str] = Counter()
    assert normalise_view(name, unrecognised=unrecognised) is view
    assert not unrecognised


def test_names_that_are_not_understood_are_unknown_and_counted() -> None:
    unrecognised: Counter[str] = Counter()
    for name in ("Waters", "waters", "PA and lateral", None):
        assert normalise_view(name, unrecognised=unrecognised) is View.UNKNOWN
    assert unrecognised == {"WATERS": 2, "PA AND LATERAL": 1}
