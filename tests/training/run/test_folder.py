"""Growing files that are cut back, checkpoints that are whole, and which epoch is the best."""

from pathlib import Path

import pytest

from editgrpo.errors import DataError, TrainingError
from editgrpo.training.epochs import EpochScore, best_epoch
from editgrpo.training.run.folder import (
    append_line,
    cut_back,
    drop_old_checkpoints,
    find_start,
    go_back_to,
    last_checkpoint,
    leaving_nothing,
    mark_complete,
)


def checkpoint(run: Path, step: int, *, whole: bool = True) -> Path:
    folder = run / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    if whole:
        mark_complete(folder)
    return folder


def test_rows_after_the_checkpoint_and_half_a_row_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (1, 1, 2, 3):
        append_line(path, {"step": step})
    with path.open("a") as stream:
        stream.write('{"step": 1')
    cut_back(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 1}\n{"step": 2}\n'
    cut_back(path, 0)
    assert path.read_text() == ""
    cut_back(tmp_path / "absent.jsonl", 2)
    assert not (tmp_path / "absent.jsonl").exists()


def test_lines_end_at_line_feeds_alone_and_may_be_torn_within_a_character(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    append_line(path, {"step": 1, "report": "one\u2028two\u0085three"})
    whole = path.read_bytes()
    torn = '{"step": 1, "report": "é'.encode()[:-1]
    path.write_bytes(whole + torn)
    cut_back(path, 1)
    assert path.read_bytes() == whole


def test_the_newest_whole_checkpoint_counts_by_number(tmp_path: Path) -> None:
    for step in (9, 10):
        checkpoint(tmp_path, step)
    half = checkpoint(tmp_path, 11, whole=False)
    found = last_checkpoint(tmp_path)
    assert found is not None and found.name == "checkpoint-10"
    assert half.exists(), "finding changes nothing"
    assert last_checkpoint(tmp_path / "elsewhere") is None
    go_back_to(tmp_path, found)
    assert not half.exists()
    assert found.exists()


def test_a_folder_of_another_name_is_somebody_s_own(tmp_path: Path) -> None:
    kept = []
    for name in ("checkpoint-keep", "checkpoint-4-copy", "checkpoint-", "checkpoint-٣", "best"):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        kept.append(folder)
    (tmp_path / "checkpoints/checkpoint-keep/complete").write_text("")  # copied with its marker
    for step in (2, 4):
        checkpoint(tmp_path, step)
    found = last_checkpoint(tmp_path)
    assert found is not None and found.name == "checkpoint-4"
    drop_old_checkpoints(tmp_path, 1)
    left = set((tmp_path / "checkpoints").iterdir())
    assert left == {*kept, tmp_path / "checkpoints/checkpoint-4"}


@pytest.mark.parametrize(
    "line", ["{}", "[1]", '{"step": "one"}', '{"step": 1', "\x00", "[" * 10**5, '{"step": null}']
)
def test_a_damaged_line_of_a_growing_file_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2"):
        cut_back(path, 1)


def test_old_checkpoints_go_and_unfinished_ones_do_not_count(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 12, whole=False)
    drop_old_checkpoints(tmp_path, 2)
    left = {folder.name for folder in (tmp_path / "checkpoints").iterdir()}
    assert left == {"checkpoint-4", "checkpoint-10", "checkpoint-12"}
    drop_old_checkpoints(tmp_path, 5)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3


def test_a_taken_folder_needs_resume_and_a_finished_run_refuses_it(tmp_path: Path) -> None:
    append_line(tmp_path / "metrics.jsonl", {"step": 1})
    with pytest.raises(TrainingError, match="holds a run already; pass --resume"):
        find_start(tmp_path, resume=False)
    assert find_start(tmp_path, resume=True) is None
    go_back_to(tmp_path, None)
    assert (tmp_path / "metrics.jsonl").read_text() == "", "without a checkpoint it starts anew"
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    with pytest.raises(TrainingError, match="finished; nothing to resume"):
        find_start(tmp_path, resume=True)


def score(epoch: int, loss: float, reward: float, error: float = 0.02) -> EpochScore:
    return EpochScore(epoch=epoch, loss=loss, reward=reward, reward_se=error)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([score(1, 0.5, 1.0)], 1),
        # Clearly the highest score wins against a lower loss.
        ([score(1, 0.4, 1.0), score(2, 0.6, 1.5)], 2),
        # 1.49 is within one standard error of 1.50: the loss decides.
        ([score(1, 0.4, 1.0), score(2, 0.5, 1.49), score(3, 0.7, 1.50)], 2),
        # 1.47 is not.
        ([score(1, 0.4, 1.0), score(2, 0.5, 1.47), score(3, 0.7, 1.50)], 3),
    ],
)
def test_the_best_epoch_is_chosen_by_score_and_then_by_loss(
    scores: list[EpochScore], best: int
) -> None:
    assert best_epoch(scores) == best
    assert best_epoch(scores[::-1]) == best


@pytest.mark.parametrize(
    ("before", "written", "stays"),
    [
        ((), ("config.yaml", "annotations/a"), False),
        ((".run.lock",), ("config.yaml",), False),
        ((), ("config.yaml", "metrics.jsonl"), True),
        ((), ("config.yaml", "checkpoints/checkpoint-1/complete"), True),
        (("notes.txt",), ("config.yaml",), True),
    ],
)
def test_a_run_that_fails_before_its_first_step_leaves_no_folder(
    tmp_path: Path, before: tuple[str, ...], written: tuple[str, ...], stays: bool
) -> None:
    run = tmp_path / "run"

    def write(names: tuple[str, ...]) -> None:
        for name in names:
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).touch()

    write(before)
    with pytest.raises(TrainingError), leaving_nothing(run):
        write(written)
        raise TrainingError("no such model")
    assert run.exists() is stays
    assert all((run / name).exists() for name in (*before, *written)) is stays
    with leaving_nothing(tmp_path / "other"):
        (tmp_path / "other").mkdir()
    assert (tmp_path / "other").exists()
