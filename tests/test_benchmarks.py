"""The logic of the benchmarks that does not need the reference packages."""

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.install import contents
from benchmarks.scoring import agreement, markdown, ratios
from benchmarks.scoring_ours import has_tie, pairs
from benchmarks.scoring_workload import (
    lay_out_for_radeval,
    load_workload,
    shift_to_shares,
)

from editgrpo.metrics.ratescore import EntityTable


def write_reports(path: Path, count: int) -> Path:
    lines = ["uid,findings", *(f"{i},The heart is normal. Nodule of {i} mm." for i in range(count))]
    path.write_text("\n".join([*lines, "x,", "y,The heart is normal. Nodule of 0 mm."]))
    return path


def test_no_rollout_is_another_text_s_twin(tmp_path: Path) -> None:
    workload = load_workload(write_reports(tmp_path / "reports.csv", 40), references=4)
    assert workload.source == "real: findings of reports.csv"
    assert [len(group) for group in workload.rollouts] == [5] * 4
    assert len(set(workload.all_reports)) == 4 * 6


def test_warm_up_shares_no_sentence_with_what_is_timed(tmp_path: Path) -> None:
    workload = load_workload(write_reports(tmp_path / "reports.csv", 40), references=4)
    sentences = {part for text in workload.all_reports for part in text.split(". ")}
    assert not any(part in sentences for text in workload.warm_up for part in text.split(". "))


def test_without_reports_phantom_reports_are_scored_and_named(tmp_path: Path) -> None:
    workload = load_workload(tmp_path / "nothing.csv", references=2)
    assert workload.source.startswith("synthetic: phantom studies")
    assert len(set(workload.all_reports)) == 12


def test_edited_versions_stand_behind_the_rollouts_of_their_reference() -> None:
    request = {"references": ["r", "s"], "rollouts": [["a", "b"], ["c", "d"]]}
    assert pairs(request, ["A", "B", "C", "D"]) == (
        ["a", "b", "A", "B", "c", "d", "C", "D"],
        ["r"] * 4 + ["s"] * 4,
    )


def test_shares_of_labels_are_met() -> None:
    scores = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) + torch.arange(3)
    shares = torch.tensor([0.6, 0.3, 0.1])
    won = torch.bincount((scores + shift_to_shares(scores, shares)).argmax(dim=1)) / 4000
    torch.testing.assert_close(won, shares, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("types", "cosines", "is_tied"),
    [
        ([0, 1], [1.0, 1.0], True),  # the same words, of two types
        ([1, 1], [1.0, 1.0], False),  # of one type: either gives the same score
        ([0, 1], [1.0, 0.999], False),
    ],
)
def test_a_tie_is_a_best_match_of_several_types(
    types: list[int], cosines: list[float], is_tied: bool
) -> None:
    one = EntityTable(np.array([[1, 0]], dtype=np.float32), np.array([3]))
    rows = [[cosine, (1 - cosine**2) ** 0.5] for cosine in cosines]
    others = EntityTable(np.array(rows, dtype=np.float32), np.array(types))
    assert has_tie(one, others) == is_tied


def side(values: list[float], is_open: list[bool] | None = None) -> list[dict[str, object]]:
    by_name = dict.fromkeys(("rate", "radgraph", "chexbert"), values)
    none = {name: [] for name in by_name}
    return [{"values": by_name, "checks": none, "is_open": {"values": is_open, "checks": []}}]


def test_a_value_that_differs_ends_the_run_unless_rounding_decides_it() -> None:
    reference = side([0.5, 0.2])
    sides = {"ours": side([0.5, 0.3], [False, True]), "ours_cold": [], "radeval": reference}
    with pytest.raises(AssertionError, match="radgraph: 1 of 2 values differ"):
        agreement(sides)  # RaTEScore's second value is a matter of rounding, RadGraph's is not
    sides["ours"] = side([0.5, 0.2 + 9e-5], [False, True])
    result = agreement(sides)
    assert result["largest_difference"]["rate"] == 0
    assert result["rate_decided_by_rounding_share"] == 0.5


def test_ratios_say_how_many_times_faster_ours_is() -> None:
    ours = {"rate": 2.0, "radgraph": 1.0, "chexbert": 5.0, "paper": 8.0}
    theirs = {"rate": 30.0, "radgraph": 5.0, "chexbert": 10.0, "paper": 45.0}
    found = ratios(ours, theirs)
    # 30 / 2, 5 / 1, 10 / 5, 45 / 8
    assert found == {"rate": 15.0, "radgraph": 5.0, "chexbert": 2.0, "paper": 5.62}
    table = markdown(
        {
            "seconds": {"radeval": theirs, "ours": ours, "ours_cold": ours},
            "ratios": found,
            "ratios_cold": found,
            "peak_memory_mib": {"radeval": 3, "ours": 2, "ours_cold": 1},
            "setting": {"pairs": 320, "threads": 2, "reports": "real"},
            "device": "a processor",
        }
    )
    assert "| rate | 30.0 | 2.0 | 15.0 | 2.0 | 15.0 |" in table


def test_radeval_finds_the_checkpoints_where_it_looks_for_downloads(tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    models = tmp_path / "models"
    for name in ("rate-ner", "biolord", "chexbert/tokenizer", "radgraph-xl"):
        (models / name).mkdir(parents=True)
    (models / "chexbert" / "chexbert.pth").write_bytes(b"weights")
    variables = lay_out_for_radeval(models, tmp_path / "radeval")
    path = hf_hub_download(
        "StanfordAIMI/RRG_scorers",
        "chexbert.pth",
        cache_dir=Path(variables["XDG_CACHE_HOME"]) / "chexbert",
        local_files_only=True,
    )
    assert Path(path).read_bytes() == b"weights"


def test_an_installation_is_its_distributions_and_its_own_bytes(tmp_path: Path) -> None:
    # An installed distribution, and one that it carries within it.
    for place in ("site-packages/a-1.dist-info", "site-packages/a/carried/b-1.dist-info"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "METADATA").write_bytes(b"1234")
    (tmp_path / "python").symlink_to("/dev/null")  # of the interpreter that there was before
    assert contents(tmp_path) == (1, 8)
