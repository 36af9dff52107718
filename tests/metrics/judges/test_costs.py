"""What judges cost is counted, taken once, added over processes and said in words."""

from editgrpo.metrics.judges.costs import count, describe_costs, summed_costs, take_costs


def test_costs_are_taken_once() -> None:
    take_costs()
    count("crimson", calls=1, prompt_tokens=1000, answer_tokens=60)
    count("crimson", calls=1, prompt_tokens=1200, retries=1)
    count("crimson", seconds=2.5)
    costs = take_costs()
    assert costs["judge/crimson/prompt_tokens"] == 2200
    assert describe_costs(costs) == "crimson: 2 questions (1 put again), 2,200 + 60 tokens, 2.5 s"
    assert take_costs() == {}
    assert describe_costs({}) == ""


def test_processes_ask_side_by_side() -> None:
    first = {"judge/green/calls": 3.0, "judge/green/seconds": 2.0}
    second = {"judge/green/calls": 1.0, "judge/green/seconds": 5.0, "judge/crimson/calls": 2.0}
    assert summed_costs([first, {}, second]) == {
        "judge/green/calls": 4.0,
        "judge/green/seconds": 5.0,
        "judge/crimson/calls": 2.0,
    }
