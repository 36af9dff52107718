"""Which clinical models a run keeps on its GPU, and what they take."""

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.clinical.sources import models_here
from editgrpo.config import DType, EditLevel, TrainConfig
from editgrpo.reports.registry import annotator_models
from editgrpo.rewards.registry import reward_models
from editgrpo.training.estimate.states import BF16, FLOAT32

# Parameters of encoders of base size with their embeddings, and of what is larger: RaTE-NER has a
# larger vocabulary, GREEN is a Llama 2.
_BASE = 110_000_000
_SIZES = {ClinicalModel.RATE_NER: 184_000_000, ClinicalModel.GREEN: 6_738_000_000}


def scorer_bytes(config: TrainConfig) -> float:
    """Return what the clinical models of reward and edits take on the GPU.

    Args:
        config: The run.

    Returns:
        Bytes of their weights; 0 where they run on the host or a server, or none is needed. What a
        reward of one's own takes is not known.

    Raises:
        ConfigError: the reward or the annotator is unknown.
    """
    if config.clinical.device == "cpu":
        return 0
    models = list(reward_models(config.reward))
    if config.edit.level is EditLevel.SENTENCE:
        models += annotator_models(config.edit.annotator)
    each = FLOAT32 if config.clinical.dtype is DType.FLOAT32 else BF16
    return float(each * sum(_SIZES.get(one, _BASE) for one in models_here(models, config.clinical)))
