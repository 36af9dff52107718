"""What may be set otherwise where a run does not fit: real settings, each tried by the estimate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from editgrpo.config import LoraConfig, OptimizerState, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.training.estimate.estimate import Estimate, Fit, Setup, estimate
from editgrpo.training.estimate.spread import Launch, Spread

_SMALL_PASS = 4096  # a group at the paper's settings takes some 3,500: less saves nothing more
_PARTS = 4
_GPUS = 8  # of a node
_WORTH = 0.99  # of the peak; what saves less is not worth naming


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One or several settings that lower the peak.

    Attributes:
        words: As the command line takes them.
        price: What is given up.
        peak_bytes: With them.
        fit: Whether the run fits then.
    """

    words: str
    price: str
    peak_bytes: float
    fit: Fit | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """One setting to try."""

    key: str
    """Of the setting; empty for a launch."""
    value: Any
    price: str
    is_mild: bool = True
    """Whether it leaves what is trained, and on what, as it is."""

    @property
    def words(self) -> str:
        """As the command line takes it."""
        if isinstance(self.value, Spread):
            return f"--launch {self.value.launch.value} --gpus {self.value.gpus}"
        if isinstance(self.value, LoraConfig):
            return f"--set {self.key}.rank={self.value.rank}"
        return f"--set {self.key}={str(self.value).lower()}"

    def applied(self, config: TrainConfig, setup: Setup) -> tuple[TrainConfig, Setup]:
        """Return a run with the setting."""
        if isinstance(self.value, Spread):
            return config, replace(setup, spread=self.value)
        section, _, name = self.key.rpartition(".")
        if not section:
            return replace(config, **{name: self.value}), setup
        inner = replace(getattr(config, section), **{name: self.value})
        return replace(config, **{section: inner}), setup


def helpful_changes(found: Estimate) -> list[Change]:
    """Try what lowers the peak of a run.

    Args:
        found: The run as it is.

    Returns:
        Single settings that lower it, those that change what is trained last; before those all
        others together but for the launch, if no single one of them makes the run fit.
    """
    tried = [(one, _tried(found, [one])) for one in _candidates(found)]
    helping = [(one, change) for one, change in tried if change is not None]
    mild = [(one, change) for one, change in helping if one.is_mild]
    changes = [change for _, change in mild]
    together = {one.key: one for one, _ in mild if one.key}  # of one key the last
    alone = [change.fit for one, change in mild if one.key]
    if len(together) > 1 and Fit.FITS not in alone:
        joined = _tried(found, list(together.values()))
        changes += [joined] if joined is not None else []
    return changes + [change for one, change in helping if not one.is_mild]


def _tried(found: Estimate, candidates: Sequence[_Candidate]) -> Change | None:
    """Return what settings bring together; None if that is nothing or they are refused."""
    config, setup = found.config, found.setup
    try:
        for one in candidates:
            config, setup = one.applied(config, setup)
        changed = estimate(config, setup)
    except ConfigError:
        return None
    if changed.peak_bytes > _WORTH * found.peak_bytes:
        return None
    return Change(
        words=" ".join(one.words for one in candidates),
        price="; ".join(dict.fromkeys(one.price for one in candidates)),
        peak_bytes=changed.peak_bytes,
        fit=changed.fit,
    )


def _candidates(found: Estimate) -> Iterator[_Candidate]:
    config, spread = found.config, found.setup.spread
    if not config.model.gradient_checkpointing:
        yield _Candidate(key="model.gradient_checkpointing", value=True, price="seconds")
    if config.tokens_per_pass > _SMALL_PASS:
        yield _Candidate(key="tokens_per_pass", value=_SMALL_PASS, price="seconds")
    if config.rollout_parts < _PARTS:
        yield _Candidate(key="rollout_parts", value=_PARTS, price="seconds")
    if config.clinical.device != "cpu":
        yield _Candidate(key="clinical.device", value="cpu", price="seconds of scoring")
    yield from _states(config)
    gpus = spread.gpus if spread.gpus > 1 else _GPUS
    if spread.launch is Launch.DDP:
        shards = Spread(gpus=gpus, launch=Launch.FSDP2)
        yield _Candidate(key="", value=shards, price="GPUs that hold a share each")
    if not config.model.freeze_vision_tower:
        yield _Candidate(
            key="model.freeze_vision_tower",
            value=True,
            price="the vision tower is not trained",
            is_mild=False,
        )
    if config.model.lora is None:
        yield _Candidate(
            key="model.lora",
            value=LoraConfig(),
            price="adapters alone are trained",
            is_mild=False,
        )


def _states(config: TrainConfig) -> Iterator[_Candidate]:
    """Yield a smaller state of the optimiser."""
    if config.model.lora is not None or config.optim.state is OptimizerState.EIGHT_BIT:
        return
    yield _Candidate(
        key="optim.state",
        value=OptimizerState.EIGHT_BIT,
        price="moments are rounded to 8 bits",
    )
