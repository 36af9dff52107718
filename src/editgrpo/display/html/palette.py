"""One colour for each system and for each edit rule, on light and on dark ground."""

import re
from collections.abc import Sequence

from editgrpo.edits.rules import NO_RULE_COLOUR, RULES, EditRule

# Okabe and Ito's hues (distinguishable with colour vision deficiency), set darker for thin lines on
# white and lighter for dark ground. Well-known systems keep their colour in every report.
_GREY = ("#64748b", "#a3b1c4")
_OCHRE = ("#b7791f", "#e6b450")
_BLUE = ("#2166ac", "#6cb2f0")
_VERMILION = ("#d1440c", "#ff8c5a")
_GREEN = ("#0b7f5f", "#3fcf9f")
_PURPLE = ("#8b4a9e", "#d29be3")
_SKY = ("#0e8fa8", "#56d3ea")
_OLIVE = ("#6b7a12", "#c2d34a")

_BY_NAME = {
    "sft": _GREY,
    "sft-continued": _OCHRE,
    "dr-grpo": _BLUE,
    "grpo": _PURPLE,
    "editgrpo": _VERMILION,
    "editgrpo-report": _GREEN,
    "editgrpo-norm": _OLIVE,
}
_SEED = re.compile(r"[-_](seed|s)?[-_]?\d+$")
_OTHERS = (_SKY, _GREEN, _PURPLE, _OLIVE, _BLUE, _OCHRE, _VERMILION, _GREY)

RULE_COLOURS = {
    **{rule.name.value: rule.colour for rule in RULES},
    "shortened": ("#0e8fa8", "#56d3ea"),  # no rule, but a truncated rollout lost its end
    EditRule.NONE.value: NO_RULE_COLOUR,
}


def run_colours(names: Sequence[str]) -> list[tuple[str, str]]:
    """Assign a colour to every run.

    Args:
        names: Names of the runs.

    Returns:
        (on light ground, on dark ground) for each. Runs of one well-known system, such as its
        seeds, share that system's colour; other runs share one only where eight are not enough.
    """
    known = [_BY_NAME.get(_SEED.sub("", name.rpartition("/")[2].lower())) for name in names]
    free = [colour for colour in _OTHERS if colour not in known]
    colours = []
    for index, colour in enumerate(known):
        fallback = _OTHERS[index % len(_OTHERS)]
        colours.append(colour or (free.pop(0) if free else fallback))
    return colours
