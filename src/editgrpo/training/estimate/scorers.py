"""Which clinical models a run keeps on its GPU, and what they take."""

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.config import DType, EditLevel, TrainConfig
from editgrpo.metrics.table import TABLE
from editgrpo.reports.registry import annotator_models
from editgrpo.rewards.registry import REWARDS, complete_weights
from editgrpo.training.estimate.states import BF16, FLOAT32

# Parameters of encoders of base size with their embeddings; RaTE-NER has a larger vocabulary.
_LARGE_VOCABULARY, _BASE = 184_000_000, 110_000_000


def scorer_bytes(config: TrainConfig) -> float:
    """Return what the clinical models of reward and edits take on the GPU.

    Args:
        config: The run.

    Returns:
        Bytes of their weights; 0 where they run on the host or none is needed.

    Raises:
        ConfigError: the reward or the annotator is unknown.
    """
    if config.clinical.device == "cpu":
        return 0
    components = complete_weights(REWARDS.get(config.reward.name, ()), config.reward.weights)
    models = {model for name in components for model in TABLE[name].models}
    if config.edit.level is EditLevel.SENTENCE:
        models |= set(annotator_models(config.edit.annotator))
    each = FLOAT32 if config.clinical.dtype is DType.FLOAT32 else BF16
    sizes = [_LARGE_VOCABULARY if one is ClinicalModel.RATE_NER else _BASE for one in models]
    return float(each * sum(sizes))
