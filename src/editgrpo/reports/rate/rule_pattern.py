"""PyFastNER's character rules as one regular expression, which tells where none of them can match.

PyFastNER tries all rules at each position of a text, one call a rule character. What is left out
of the expression: to which kind a rule belongs, what it captures, and that a run takes as much as
it can. So a position may be let through that matches nothing, never the reverse.
"""

import re
import string
from typing import Any

RuleTree = dict[str, Any]
"""Rules as nested dictionaries, one character of a rule a level."""

# Wildcards that take a character; a class may be wider than the wildcard, as of characters beyond
# ASCII, whose kinds are many. `\b` is never true behind the first position of a text.
_WILDCARDS = {
    "s": r"[ \t\xa0]",
    "n": r"[\n\r]",
    "(": r"\(",
    ")": r"\)",
    "\\": r"\\",
    "d": r"[^\x00-/:-\x7f]",
    "C": r"[^\x00-@\[-\x7f]",
    "c": r"[^\x00-`{-\x7f]",
    "p": f"[{re.escape(string.punctuation)}]",
    "a": r"\S",
    "u": r"[^\x00-~]",
    "w": r"[^!-~]",
}


def rule_pattern(rules: RuleTree, *, end: str, max_repeat: int) -> re.Pattern[str]:
    """Return what matches, with no width, wherever a rule may match.

    Args:
        rules: All rules.
        end: The key that marks a complete rule.
        max_repeat: Characters that a `+` takes at most.

    Returns:
        For positions that are not the first of a text: rules bound to its beginning are left out.
    """

    def after(tree: RuleTree, taken: str) -> str:
        """Return what may follow in a tree that was reached by something that is `taken`."""
        if end in tree:
            return ""
        branches = []
        for key, below in tree.items():
            if key in ("(", ")"):  # the bounds of what a rule captures
                branches.append(after(below, re.escape(key)))
            elif key == "+":
                branches.append(r"\+")  # PyFastNER also takes it by its letter, as it does "\"
                branches.append(f"{taken}{{0,{max_repeat}}}{after(below, re.escape(key))}")
            elif key == "\\":
                branches.append(r"\\")
                for name, rest in below.items():
                    if name == "e":
                        branches.append(r"\Z")
                    elif name in _WILDCARDS:
                        branches.append(_WILDCARDS[name] + after(rest, _WILDCARDS[name]))
            else:
                branches.append(re.escape(key) + after(below, re.escape(key)))
        return f"(?:{'|'.join(dict.fromkeys(branches))})"

    return re.compile(f"(?={after(rules, '')})")
