"""What a run can be told: frozen dataclasses, one default each, checked on construction.

No torch here. `editgrpo.recipes` fills these from YAML files and `--set a.b=c` overrides. A path is
kept as text: it is resolved by the module that opens it.
"""

from editgrpo.config.anneal import Anneal
from editgrpo.config.clinical import ClinicalConfig
from editgrpo.config.components import (
    AttentionKernel,
    DataConfig,
    DType,
    GroupPass,
    LoraConfig,
    ModelConfig,
    OptimConfig,
    OptimizerState,
    Quantization,
    RewardConfig,
    Schedule,
    Section,
    Target,
)
from editgrpo.config.edits import (
    EditConfig,
    EditLevel,
    EditSource,
    EditWhen,
    Likeness,
    Placement,
)
from editgrpo.config.policy import (
    AdvantageScale,
    Baseline,
    Credit,
    EditWeight,
    KLTerm,
    LossType,
    ObjectiveConfig,
    RolloutConfig,
    RolloutEngine,
    VLLMConfig,
)
from editgrpo.config.runs import PromptOrder, SFTConfig, TrainConfig

__all__ = [
    "AdvantageScale",
    "Anneal",
    "AttentionKernel",
    "Baseline",
    "ClinicalConfig",
    "Credit",
    "DType",
    "DataConfig",
    "EditConfig",
    "EditLevel",
    "EditSource",
    "EditWeight",
    "EditWhen",
    "GroupPass",
    "KLTerm",
    "Likeness",
    "LoraConfig",
    "LossType",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "OptimizerState",
    "Placement",
    "PromptOrder",
    "Quantization",
    "RewardConfig",
    "RolloutConfig",
    "RolloutEngine",
    "SFTConfig",
    "Schedule",
    "Section",
    "Target",
    "TrainConfig",
    "VLLMConfig",
]
