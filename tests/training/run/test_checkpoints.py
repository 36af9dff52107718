"""What a checkpoint must hold before a run goes on from it."""

from pathlib import Path

import pytest
from transformers import TrainerState

from editgrpo.errors import TrainingError
from editgrpo.training.run.checkpoints import check_state


def checkpoint(folder: Path, random_states: tuple[str, ...]) -> Path:
    path = folder / "checkpoint-2"
    path.mkdir()
    TrainerState(global_step=2).save_to_json(str(path / "trainer_state.json"))
    for name in random_states:
        (path / f"rng_state{name}.pth").write_bytes(b"state")
    return path


@pytest.mark.parametrize("states", [("",), ("_0", "_1"), ("_0", "_1", "_2")])
def test_states_of_however_many_processes_are_whole(
    tmp_path: Path, states: tuple[str, ...]
) -> None:
    """Whole copies and FSDP's shards are resumed by more or fewer processes."""
    check_state(checkpoint(tmp_path, states))


@pytest.mark.parametrize(
    ("states", "missing"),
    [
        ((), ""),
        (("_0",), "_1"),  # one process alone writes no number
        (("_1",), "_0"),
        (("_0", "_2"), "_1"),
        (("_copy",), ""),
    ],
)
def test_a_missing_state_of_the_random_generators_is_named(
    tmp_path: Path, states: tuple[str, ...], missing: str
) -> None:
    with pytest.raises(TrainingError, match="delete this checkpoint to go on") as raised:
        check_state(checkpoint(tmp_path, states))
    path = tmp_path / f"checkpoint-2/rng_state{missing}.pth"
    assert str(raised.value).startswith(f"{path}: is missing; ")
