"""The logic of the benchmarks of training that does not need a measurement."""

import json
from pathlib import Path

import pytest
import torch
from benchmarks import workload
from benchmarks.families import FAMILIES
from benchmarks.packed import PackedUpdate
from benchmarks.plots import draw
from benchmarks.rollout import result
from benchmarks.rollout import summary as rollout_summary
from benchmarks.stock_trl import StockUpdate
from benchmarks.train_measure import Clock, StockClock
from benchmarks.train_measure import measure as measure_step
from benchmarks.train_step import report
from benchmarks.update_measure import measure
from benchmarks.update_step import agree, group_cases, prompt_cases, ratios, summary, verdict
from benchmarks.workload import (
    IMAGES,
    Case,
    draw_group,
    image_grid,
    prepare,
    response_lengths,
    train_config,
)

from editgrpo.training.policy.load import load_processor
from editgrpo.training.policy.tiny import TinyModelConfig


def test_the_ideal_is_the_tokens_of_separate_rows_over_those_of_a_packed_one() -> None:
    # 10 x (540 + 60) = 6000 tokens against 540 + 10 x 60 = 1140.
    assert Case(prompt=540, response=60, group=10).ideal == pytest.approx(6000 / 1140)


@pytest.mark.parametrize("case", [*prompt_cases(), *group_cases()])
def test_images_fit_in_the_prompt_and_lengths_have_the_mean_asked_for(case: Case) -> None:
    rows, columns = image_grid(case)
    assert 0.7 * case.prompt < IMAGES * rows * columns < 0.9 * case.prompt
    lengths = response_lengths(case)
    assert len(lengths) == case.group
    assert len(set(lengths)) > 1
    assert sum(lengths) / case.group == pytest.approx(case.response, abs=0.5)


def test_a_sweep_of_prompts_keeps_their_sum_with_the_answers() -> None:
    assert {case.prompt + case.response for case in prompt_cases()} == {600}
    assert {round(case.prompt / case.response) for case in prompt_cases()} == {1, 2, 5, 9, 20}


def child(*seconds: float, growth: int, **more: float) -> dict[str, object]:
    updates = [{"update_s": s, "reference_s": s / 4, "policy_s": 3 * s / 4} for s in seconds]
    return {
        "updates": updates,
        "before_mib": 100,
        "peak_mib": 100 + growth,
        "growth_mib": growth,
        **more,
    }


def test_ratios_are_of_medians_and_their_spread_of_all_pairs() -> None:
    head = {"head_of_prompts_s": 1.0}
    stock = summary([child(10, growth=300, **head), child(14, 12, growth=300, **head)])
    found = ratios(stock, summary([child(2, 2, 3, growth=60)]))
    # Medians 12 and 2; pairs from 10 / 3 to 14 / 2; without a second of the head (12 - 1) / 2.
    assert found == {
        "ratio": 6.0,
        "ratio_lowest": 3.33,
        "ratio_highest": 7.0,
        "ratio_without_head_of_prompts": 5.5,
        "memory": 0.2,
    }


@pytest.mark.parametrize(
    ("ratio", "memory", "is_met"), [(6.0, 0.33, True), (5.9, 0.33, False), (6.0, 0.34, False)]
)
def test_a_goal_is_met_by_time_and_memory_together(
    ratio: float, memory: float, is_met: bool
) -> None:
    found = verdict({"trainable": {"ratio": ratio, "memory": memory}, "prompts": []})
    assert found["ratios"] == {"update_trainable": ratio}
    assert found["within_goals"] is is_met


def write_record(path: Path, *, shift: float = 0.0) -> Path:
    record = {
        "loss": torch.tensor(0.5),
        "log_probs": torch.zeros(2, 3),
        "reference_log_probs": torch.zeros(2, 3),
        "gradients": {"weight": torch.tensor([4.0, 1.0 + shift])},
    }
    torch.save(record, path)
    return path


def test_sides_that_agree_give_the_differences(tmp_path: Path) -> None:
    stock, ours = tmp_path / "stock.pt", tmp_path / "ours.pt"
    # 2e-4 is a share of 5e-5 of the largest gradient, 4.
    differences = agree(write_record(stock), write_record(ours, shift=2e-4))
    assert differences["gradients"] == pytest.approx(5e-5, rel=0.05)
    assert differences["loss"] == 0.0


def test_sides_that_differ_end_the_benchmark(tmp_path: Path) -> None:
    stock, ours = tmp_path / "stock.pt", tmp_path / "ours.pt"
    with pytest.raises(SystemExit, match="differ by more"):
        agree(write_record(stock), write_record(ours, shift=1e-3))


def step(seconds: list[float], tokens: float = 60.0) -> dict[str, object]:
    return {"step_s": sorted(seconds)[1], "all_step_s": seconds, "response_tokens": tokens}


def test_the_step_is_compared_with_the_same_work_of_ours() -> None:
    edited = step([1, 1, 1])
    found = report({"stock": step([8, 10, 12]), "ours": step([2, 2, 4]), "ours_edited": edited})
    assert found["ratios"] == {"step": 5.0}
    assert (found["ratio_lowest"], found["ratio_highest"]) == (2.0, 6.0)
    assert found["times_as_fast"] == {"ours": 5.0, "ours_edited": 10.0}
    assert found["within_goals"]


def test_steps_of_unequal_work_are_not_compared() -> None:
    with pytest.raises(SystemExit, match="different lengths"):
        report({"stock": step([8, 10, 12]), "ours": step([2, 2, 4], tokens=59.0)})


def sweep() -> dict[str, object]:
    def compared(case: Case) -> dict[str, object]:
        described = {
            "prompt": case.prompt,
            "response": case.response,
            "group": case.group,
            "is_tower_frozen": case.is_tower_frozen,
            "ideal": case.ideal,
        }
        return {"case": described, "ratio": 5.0, "ratio_lowest": 4.5, "ratio_highest": 5.5}

    return {
        "prompts": [compared(case) for case in prompt_cases()],
        "groups": [compared(case) for case in group_cases()],
    }


@pytest.mark.slow
def test_both_sweeps_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "ratios.svg"
    draw(sweep(), path)
    text = path.read_text(encoding="utf-8")
    assert text.count("<svg") == 1
    assert "20:1" in text and "responses in a group" in text


def test_sides_of_a_rollout_are_compared_with_generate() -> None:
    seconds = {"generate": 6.0, "former": 4.0, "ours": 2.0, "compiled": 1.5}
    runs = {
        side: [
            {
                "seconds": s,
                "first_s": s / 2,
                "tokens_per_s": 60 / s,
                "before_mib": 10,
                "peak_mib": 15,
            }
            for s in (value, 2 * value, value)
        ]
        for side, value in seconds.items()
    }
    found = result({side: rollout_summary(of) for side, of in runs.items()}, (4, 5, 60), 3)
    # Medians: 6 / 4, 6 / 2, 6 / 1.5.
    assert found["ratios"] == {"rollout_former": 1.5, "rollout_ours": 3.0, "rollout_compiled": 4.0}
    assert found["sides"]["ours"]["growth_mib"] == 5
    assert (found["prompts"], found["samples"], found["new_tokens"]) == (4, 5, 60)
    assert json.loads(json.dumps(found))["model"]["hidden_size"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_both_benchmarks_run_with_each_family(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = TinyModelConfig(hidden_size=32, layers=1, vision_layers=1, heads=2, vocabulary=700)
    monkeypatch.setattr(workload, "SHAPE", small)
    prepare(tmp_path, studies=2, family=family)
    case = Case(group=4, response=6)  # of two, both would be equal, and gradients cancel
    config = train_config(tmp_path, case, tmp_path / "run", steps=2, save_every=2)
    group = draw_group(case, load_processor(tmp_path / workload.CHECKPOINT))
    for name, side in (("stock", StockUpdate), ("ours", PackedUpdate)):
        assert measure(side(config, group), 1, tmp_path / name)["updates"]
    # Ends the benchmark if they differ; the tower is frozen.
    agree(tmp_path / "stock", tmp_path / "ours")
    for clock in (StockClock(), Clock()):
        assert measure_step(config, clock)["steps"]
