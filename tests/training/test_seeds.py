"""Every draw belongs to its coordinates."""

import random

import pytest
import torch

from editgrpo.training.seeds import (
    Purpose,
    derive_seed,
    random_generator,
    rollout_draws,
    uniform_draws,
)


def test_a_seed_is_the_same_everywhere_and_at_any_time() -> None:
    """The number is fixed: another one would change the result of every published run."""
    assert derive_seed(0, Purpose.EDIT, 3, "s1", 2) == derive_seed(0, Purpose.EDIT, 3, "s1", 2)
    # From `printf '0\x1fedit\x1f3\x1fs1\x1f2' | b2sum -l 64`: the first 8 bytes, shifted right.
    assert derive_seed(0, Purpose.EDIT, 3, "s1", 2) == int("2d5204de6e286205", 16) >> 1


@pytest.mark.parametrize(
    "other",
    [
        (1, Purpose.EDIT, 3, "s1", 2),
        (0, Purpose.SAMPLING, 3, "s1", 2),
        (0, Purpose.EDIT, 4, "s1", 2),
        (0, Purpose.EDIT, 3, "s2", 2),
        (0, Purpose.EDIT, 3, "s1", 3),
        (0, Purpose.EDIT, 3, "s12"),
        (0, Purpose.EDIT, 3, "s1"),
    ],
)
def test_other_coordinates_give_another_seed(other: tuple[int, Purpose]) -> None:
    assert derive_seed(*other) != derive_seed(0, Purpose.EDIT, 3, "s1", 2)


def test_draws_do_not_touch_the_global_generators() -> None:
    random.seed(1)
    torch.manual_seed(1)
    state, torch_state = random.getstate(), torch.get_rng_state()
    random_generator(0, Purpose.ORDER).random()
    draws = uniform_draws(0, 1, "s", count=10_000)
    assert random.getstate() == state
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert draws.dtype == torch.float64
    assert float(draws.min()) >= 0 and float(draws.max()) < 1
    # Mean of 10,000 uniform draws: 0.5, standard error 0.0029.
    assert abs(float(draws.mean()) - 0.5) < 0.015


def test_fewer_draws_are_the_beginning_of_more() -> None:
    """A longer length limit leaves what was drawn before it as it was."""
    assert torch.equal(uniform_draws(0, 1, count=5), uniform_draws(0, 1, count=9)[:5])


def test_a_rollout_draws_the_same_whoever_is_sampled_beside_it() -> None:
    drawn = rollout_draws(7, 3, ["a", "b"], rows=2, count=4)
    assert drawn.shape == (2, 2, 4)
    assert torch.equal(drawn[1, 1], uniform_draws(7, 3, "b", 1, count=4))
    assert torch.equal(drawn[1:, :1], rollout_draws(7, 3, ["b"], rows=1, count=4))
    assert len(set(drawn.flatten().tolist())) == drawn.numel()


def test_rows_drawn_later_are_those_that_would_have_been_drawn_at_once() -> None:
    at_once = rollout_draws(7, 3, ["a", "b"], rows=4, count=5)
    assert torch.equal(at_once[:, 2:], rollout_draws(7, 3, ["a", "b"], rows=range(2, 4), count=5))
