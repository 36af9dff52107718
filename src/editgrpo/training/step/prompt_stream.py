"""Studies drawn when they are asked for, where the results of a run decide how many or which.

The orders that the seed alone decides are in batches.py and prompt_order.py. Here a step may draw
further studies (dynamic_sampling.py), and with `prompt_order: by_hardness` a study whose groups had
no signal loses turns. Where a stream stands goes into each checkpoint.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from editgrpo.config import PromptOrder, TrainConfig
from editgrpo.data.study import Study
from editgrpo.errors import ConfigError, TrainingError
from editgrpo.files import read_json_object, write_json
from editgrpo.foreign import reading
from editgrpo.training.seeds import Purpose, random_generator
from editgrpo.training.step.batches import StepSampler
from editgrpo.training.step.prompt_order import step_sampler

# A study that never had a signal keeps one turn in 32, so that none is forgotten.
_FEWEST_TURNS = 5
_FILE = "prompts.json"


class PromptStream:
    """Hands out the studies of a run in their order, each at most once a step.

    Args:
        sampler: Has the order.
        studies: N, how many there are.
        seed: The run's seed.
        is_by_hardness: Whether a study whose last k groups had no signal is taken at one of its
            turns with probability 2^-k only, k at most 5.
    """

    def __init__(
        self, sampler: StepSampler, *, studies: int, seed: int, is_by_hardness: bool
    ) -> None:
        self._sampler = sampler
        self._order = sampler.endless()
        self._studies = studies
        self._seed = seed
        self._is_by_hardness = is_by_hardness
        self._turns = 0
        self._without_signal: dict[int, int] = {}
        self._in_step: set[int] = set()

    @property
    def passes(self) -> float:
        """Passes over the training studies so far, those that were passed over included."""
        return self._turns / self._studies

    def begin_step(self) -> None:
        """Let every study be drawn again."""
        self._in_step.clear()

    def draw(self, count: int) -> list[int]:
        """Draw studies that the step does not have yet.

        Args:
            count: How many.

        Returns:
            Their numbers, from 0; fewer than `count` where the step has all others.
        """
        drawn: list[int] = []
        while len(drawn) < count and len(self._in_step) < self._studies:
            study, turn = next(self._order), self._turns
            self._turns += 1
            if study not in self._in_step and self._is_taken(study, turn):
                self._in_step.add(study)
                drawn.append(study)
        return drawn

    def _is_taken(self, study: int, turn: int) -> bool:
        halvings = min(self._without_signal.get(study, 0), _FEWEST_TURNS)
        if not self._is_by_hardness or not halvings:
            return True
        return random_generator(self._seed, Purpose.HARDNESS, turn).random() < 0.5**halvings

    def learn(self, results: Iterable[tuple[int, bool]]) -> None:
        """Note which groups of a step had a signal.

        Args:
            results: Number of a study, and whether the rewards of its group differ; the same in all
                processes.
        """
        for study, has_signal in results:
            if has_signal:
                self._without_signal.pop(study, None)
            else:
                self._without_signal[study] = self._without_signal.get(study, 0) + 1

    def save(self, checkpoint: Path) -> None:
        """Write how far the stream has come.

        Args:
            checkpoint: A folder.
        """
        groups = {str(study): count for study, count in sorted(self._without_signal.items())}
        write_json(checkpoint / _FILE, {"turns": self._turns, "without_signal": groups})

    def restore(self, checkpoint: Path) -> None:
        """Go on from where a stream of the same run stood.

        Args:
            checkpoint: The folder that it was written to.

        Raises:
            TrainingError: the file is missing or damaged.
        """
        path = checkpoint / _FILE
        remedy = "delete this checkpoint to go on from the one before it"
        if not path.is_file():
            raise TrainingError(f"{path}: is missing; {remedy}")
        with reading(path, remedy, error=TrainingError):
            state = read_json_object(path, remedy)
            turns = int(state["turns"])
            groups = {int(study): int(count) for study, count in state["without_signal"].items()}
        self._turns, self._without_signal = turns, groups
        self._order = islice(self._sampler.endless(), turns, None)


def prompt_stream(
    config: TrainConfig, studies: Sequence[Study], checkpoint: Path | None = None
) -> PromptStream | None:
    """Make the stream of a run.

    Args:
        config: The run.
        studies: The N training studies.
        checkpoint: Where the run goes on; None at step 0.

    Returns:
        The stream; None where the seed alone decides which studies a step gets.

    Raises:
        ConfigError: there are fewer studies than prompts in a step.
        TrainingError: the checkpoint does not say where the stream stood.
    """
    is_by_hardness = config.prompt_order is PromptOrder.BY_HARDNESS
    if not (is_by_hardness or config.rollout.dynamic_sampling):
        return None
    if len(studies) < config.prompts_per_step:
        raise ConfigError(
            f"prompts_per_step is {config.prompts_per_step}, but there are {len(studies)} "
            "training studies; rollout.dynamic_sampling and prompt_order 'by_hardness' draw no "
            "study twice in a step: lower prompts_per_step or raise data.train_limit"
        )
    stream = PromptStream(
        step_sampler(config, [study.reference for study in studies]),
        studies=len(studies),
        seed=config.seed,
        is_by_hardness=is_by_hardness,
    )
    if checkpoint is not None:
        stream.restore(checkpoint)
    return stream
