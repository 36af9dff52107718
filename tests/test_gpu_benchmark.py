"""The benchmark of a GPU at small size: its draws, its counts, its report, and all of it once."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from benchmarks.gpu_bench import Bench, fullest
from benchmarks.gpu_counts import packed_rows, step_flops
from benchmarks.gpu_measure import Report, attempt
from benchmarks.gpu_policy import FULL
from benchmarks.gpu_rows import differences, ideal_ratio
from benchmarks.gpu_step import checks, summarise, tables
from benchmarks.gpu_workload import (
    PAPER,
    SMALL,
    build_model,
    draw_advantages,
    draw_lengths,
    draw_prompts,
    ending_draws,
    policy_loss,
    sampling_settings,
    with_edits,
)

from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling.rollouts import sample_responses

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[1]
# What the bare machine lacks: a finder that refuses these, put before all others.
REFUSED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"trl", "datasets", "pyarrow", "spacy", "plotly", "typer"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from benchmarks.gpu_step import main
main()
"""


def bare_prompt(tokens: int) -> EncodedPrompt:
    ids = torch.arange(tokens)
    return EncodedPrompt(
        study_id="a",
        input_ids_T=ids,
        is_image_token_T=ids < 0,
        pixel_values=None,
        image_grid_thw=None,
    )


def test_the_paper_step_has_the_papers_size() -> None:
    assert len(PAPER.images_P) == 32 and PAPER.group == 10
    assert sum(PAPER.images_P) == 134  # 4.2 a prompt
    image_tokens = [rows * columns // 4 for rows, columns in PAPER.grids]
    assert sum(image_tokens) / len(image_tokens) == pytest.approx(512, abs=1)
    assert min(PAPER.answer_tokens) == 100 and max(PAPER.answer_tokens) == 150
    # the count of the published checkpoint, tied head counted once
    model = build_model(PAPER, torch.device("meta"))
    assert sum(p.numel() for p in model.parameters()) == 3_754_622_976


def test_rows_end_at_the_lengths_that_were_drawn() -> None:
    prompts, lengths = draw_prompts(SMALL), draw_lengths(SMALL)
    answers = sample_responses(
        build_model(SMALL, CPU),
        prompts,
        ending_draws(lengths, SMALL.max_tokens),
        sampling_settings(SMALL),
    )
    assert [[len(answer) for answer in group] for group in answers] == lengths
    ends = {answer[-1] for group in answers for answer in group}
    inner = {token for group in answers for answer in group for token in answer[:-1]}
    assert ends == {SMALL.end_token}
    assert max(inner) < SMALL.words


def test_an_edit_replaces_one_span_and_keeps_the_end() -> None:
    end = SMALL.end_token
    sampled = [[[1, 2, 3, 4, 5, 6, 7, end], [*range(10, 21), end]]]
    group = with_edits(SMALL, sampled)[0]
    assert group[:2] == sampled[0]
    for before, after in zip(group[:2], group[2:], strict=True):
        assert after[-1] == end and len(after) <= SMALL.max_tokens
        assert after != before
        start = next(
            k for k, pair in enumerate(zip(before, after, strict=False)) if len(set(pair)) > 1
        )
        tail = next(
            k
            for k, pair in enumerate(zip(before[::-1], after[::-1], strict=False))
            if len(set(pair)) > 1
        )
        # what is neither in the common beginning nor in the common end: at most a quarter
        assert len(before) - start - tail <= (len(before) - 1) // 4


def test_advantages_sum_to_zero_in_each_group() -> None:
    sums = draw_advantages(SMALL, CPU).sum(dim=1)
    torch.testing.assert_close(sums, torch.zeros_like(sums), atol=1e-6, rtol=0)


def test_the_loss_has_the_gradient_of_its_first_update() -> None:
    log_probs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    reference = torch.tensor([[-1.0, -2.0 + torch.log(torch.tensor(2.0))]])
    policy_loss(log_probs, reference, torch.tensor([3.0]), scale=0.5).backward()
    # d/dlogp of -A ratio is -A at ratio 1; of k3, e^d - d - 1 with d = ref - logp, it is 1 - e^d:
    # 0.5 (-3 + 0.01 (1 - 1)) and 0.5 (-3 + 0.01 (1 - 2))
    torch.testing.assert_close(log_probs.grad, torch.tensor([[-1.5, -1.505]]))


def test_packed_rows_count_what_is_seen() -> None:
    rows = packed_rows([bare_prompt(5)], [[2, 3]])
    # prefix of 4, two responses of 2 and 3 columns; pairs 4*4/2 + 2*(4 + 1) + 3*(4 + 1.5)
    assert (rows.tokens, rows.pairs, rows.scored) == (9, 34.5, 5)


def test_operations_of_the_paper_step_are_those_of_the_account() -> None:
    model = build_model(PAPER, torch.device("meta"))
    found = step_flops(model.config, [bare_prompt(2300)] * 2, [[125] * 10] * 2, 5)
    # 2 operations for each of 36 x 77,070,336 entries of matrices (biases and norms left out) and
    # 2 x 3549 columns, 4 x 2048 x 36 a pair, 2 x 311,164,928 for each of 2500 scored columns
    pairs = 2299**2 / 2 + 1250 * (2299 + 62.5)
    matrices = 36 * (2 * 2048 * 2048 + 2 * 2048 * 256 + 3 * 2048 * 11_008)
    forward = 2 * (2 * matrices * 3549 + 4 * 2048 * 36 * pairs + 2 * 311_164_928 * 1250)
    assert found["reference"] == pytest.approx(forward)
    assert found["update"] == pytest.approx(3 * forward)
    assert found["forward"] + found["backward"] == pytest.approx(found["update"])
    phases = ("vision", "prefill", "decode", "reference", "update")
    assert found["step"] == pytest.approx(sum(found[name] for name in phases))


def test_ideal_ratio_counts_the_prompt_once() -> None:
    # rows: 2 x (5 + 3) = 16; packed: 5 - 1 + 2 x 3 = 10
    assert ideal_ratio(bare_prompt(5), [[1, 2, 3], [4, 5, 6]]) == 1.6


def test_differences_leave_padding_out() -> None:
    a, b = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[1.5, 2.0, 0.0]])
    found = differences(a, b, torch.tensor([[True, True, False]]))
    assert found == {"mean": 0.25, "largest": 0.5}


def test_the_fullest_pass_within_the_budget_is_measured() -> None:
    assert fullest([[0], [1, 2], [3]], [90, 20, 30, 40], 60) == [1, 2]
    assert fullest([[0], [1]], [90, 80], 60) == [1]


@pytest.mark.slow
def test_a_section_that_fails_leaves_the_others(tmp_path: Path) -> None:
    report = Report(tmp_path / "out.json", 60, CPU)

    def fails() -> dict[str, object]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")

    report.run("one", fails, needs_s=1)
    report.run("two", lambda: {"value": 2}, needs_s=1)
    report.run("three", lambda: {"value": 3}, needs_s=1000)
    kept = json.loads((tmp_path / "out.json").read_text())["sections"]
    assert kept["one"]["failed"].startswith("OutOfMemoryError: CUDA out of memory")
    assert kept["two"]["value"] == 2
    assert "needs 1000" in kept["three"]["skipped"]


def test_a_section_ends_when_time_is_up_even_inside_an_attempt(tmp_path: Path) -> None:
    report = Report(tmp_path / "out.json", 0.2, CPU)

    def sleeps() -> dict[str, object]:
        time.sleep(30)
        return {}

    began = time.monotonic()
    report.run("slow", lambda: {"inner": attempt(sleeps, CPU)}, needs_s=0.1)
    assert time.monotonic() - began < 5
    assert report.sections["slow"]["failed"] == "the time for all sections is up"


def test_checks_tell_missed_from_unmeasured() -> None:
    sections = {
        "step float32": {"step_s": 31.0, "fits_limit": True},
        "step lora": {"step_s": 9.0, "fits_limit": False},
        "step 8bit": {"failed": "ModuleNotFoundError: bitsandbytes"},
    }
    assert checks(sections) == {
        "full step in 30 s": False,
        "float32 in 76 GiB": True,
        "8bit in 76 GiB": None,
        "lora in 24 GiB": False,
    }
    # 4 A100 x 432 s / 31 s
    result = summarise(sections, is_small=False)
    assert result["ratios"] == {"gpu_seconds_of_the_paper": 55.74}
    assert "full step in 30 s: FAIL" in tables(result)
    assert "8bit in 76 GiB: not measured" in tables(result)


@pytest.mark.slow
def test_a_packed_group_equals_stock_rows_in_float32() -> None:
    found = Bench(SMALL, CPU).agreement()
    assert found["log_prob_differences"]["largest"] < 1e-5
    assert found["gradient_difference"] < 1e-5


@pytest.mark.slow
def test_windows_in_batches_give_the_features_of_single_ones() -> None:
    found = Bench(SMALL, CPU).windows(FULL)
    assert found["images"] == 2  # of 8 x 6 and 6 x 10 patches, which is two windows of unequal size
    assert found["largest_difference"] <= 2**-6 * found["largest_feature"]  # bfloat16


@pytest.mark.slow
def test_all_of_it_runs_on_a_bare_machine(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REFUSED, "--small", "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    assert json.loads(output.read_text()) == result
    failed = {name for name, found in result["sections"].items() if "failed" in found}
    assert failed <= {"step 8bit"}  # bitsandbytes need not be there
    assert set(result["phases"]) == {
        "vision", "prefill", "decode", "edit", "score", "pack", "reference", "forward", "backward",
        "optimizer",
    }  # fmt: skip


@pytest.mark.slow
def test_a_step_over_the_limit_is_measured_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [torch.OutOfMemoryError("CUDA out of memory"), {"step_s": 5.0}]

    def steps(*_: object) -> dict[str, object]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench = Bench(SMALL, CPU)
    monkeypatch.setattr(bench, "_steps", steps)
    found = bench.step(FULL, limit_mib=1)
    assert found["step_s"] == 5.0 and found["fits_limit"] is False
    assert "out of memory" in found["failed_within_limit"]
    answers.append(ModuleNotFoundError("bitsandbytes"))
    assert "fits_limit" not in bench.step(FULL, limit_mib=1)
