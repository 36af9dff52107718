"""The lines of a fine-tuning run."""

import io

from rich.console import Console

from editgrpo.display.fine_tuning import FineTuningLine


def test_steps_are_whole_numbers_with_their_time_and_the_time_to_the_end() -> None:
    """Steps 10 and 11 end 4 s and 2 s after what was shown before them: of 1,000 steps 989 are
    left at 3 s each, 2,967 s or 49 min 27 s. The 100 s of the validation are in neither."""
    times = iter([0.0, 4.0, 4.0, 104.0, 106.0, 106.0])
    written = io.StringIO()
    console = Console(file=written, width=300)
    line = FineTuningLine(console=console, clock=lambda: next(times))
    line.begin(1000)
    line.show({"step": 9, "epoch": 0.9, "loss": 2.0})
    line.show({"step": 10, "epoch": 1.0, "loss": 1.5, "learning_rate": 1e-05})
    line.show({"step": 10, "epoch": 1, "validation/loss": 1.25})
    line.show({"step": 11, "epoch": 1.1, "loss": 1.0})
    assert written.getvalue().splitlines() == [
        "step 9/1000  epoch 0.9  loss 2.000",
        "step 10/1000  epoch 1  loss 1.500  learning_rate 1.0e-05  4.0s  eta 1h06m",
        "step 10/1000  epoch 1  validation/loss 1.250",
        "step 11/1000  epoch 1.1  loss 1.000  2.0s  eta 49m27s",
    ]
