"""The families that this package knows: a file each, its name the `model_type` of its models.

Other models may have the same attributes (`visual`, `get_rope_index`) and another forward pass,
such as the experts of Qwen3-VL's larger sizes: they would give other tokens without an error. They
take the plain path (packed/plain.py).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a folder is asked for its family before torch is loaded
    from editgrpo.training.policy.family import PolicyFamily
    from editgrpo.training.policy.model import Policy


# Such layers carry a state from token to token, which responses in one row would hand on.
LINEAR_ATTENTION = "its layers of linear attention cannot be shared by the responses of a group"


def family_types() -> list[str]:
    """Return the `model_type` of every family, sorted."""
    return sorted(one.name for one in iter_modules(__path__) if not one.name.startswith("_"))


def family_named(model_type: object) -> "PolicyFamily | None":
    """Return the family of a `model_type`, None if it is in no file here."""
    return _loaded(model_type) if isinstance(model_type, str) else None


@cache
def _loaded(model_type: str) -> "PolicyFamily | None":
    if model_type not in family_types():
        return None
    family: PolicyFamily = import_module(f"{__name__}.{model_type}").FAMILY
    return family


def packed_family(config: Mapping[str, Any]) -> "PolicyFamily | str":
    """Return the family that packs a model, or why none does.

    Args:
        config: Of its folder, as `config.json` says it.

    Returns:
        The family, or the reason as the end of a message.
    """
    kind = config.get("model_type")
    family = family_named(kind)
    if family is None:
        return f"which knows {_named(packed=True)} and not {kind!r}{_obstacle(config)}"
    reason = family.refusal(config)
    return family if reason is None else f"which cannot take this {family.name} model: {reason}"


def _obstacle(config: Mapping[str, Any]) -> str:
    # What a file for the family could not mend.
    text = config.get("text_config", config)
    kinds = text.get("layer_types") if isinstance(text, Mapping) else None
    is_linear = isinstance(kinds, Sequence) and "linear_attention" in kinds
    return f"; {LINEAR_ATTENTION}" if is_linear else ""


def family_of(model: "Policy") -> "PolicyFamily":
    """Return the family of a model; that of text alone for one that is in no file here."""
    return family_named(model.config.model_type) or _text_alone()


@cache
def _text_alone() -> "PolicyFamily":
    from editgrpo.training.policy.family import PolicyFamily

    return PolicyFamily()


def supported_families() -> str:
    """Name the families with their `model_type`, for messages."""
    return _named(packed=False)


def _named(*, packed: bool) -> str:
    named = {kind: family_named(kind) for kind in family_types()}
    return ", ".join(
        sorted(
            f"{family.name} ({kind})"
            for kind, family in named.items()
            # What refuses a model that says nothing of itself refuses all of them.
            if family and not (packed and family.refusal({}))
        )
    )
