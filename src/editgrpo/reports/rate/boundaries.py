"""PyRuSH, RaTEScore's sentence splitter, with medSpaCy's rules and a faster search for matches.

PyRuSH tries some 780 rules at each character, in Python: 3 ms a report. Here a regular expression
finds the few positions where a rule can match, and PyRuSH's own matcher decides there; the
sentences are the same.
"""

import csv
import re
from importlib.util import find_spec
from pathlib import Path

from PyFastNER import FastCNER, Span
from PyRuSH import RuSH

from editgrpo.errors import ModelError
from editgrpo.reports.rate.rule_pattern import rule_pattern

_MAX_REPEAT = 50
"""PyRuSH's own default, which medSpaCy keeps."""

# What medSpaCy 1.3.1's English rules have beyond PyRuSH 1.0.13's, after which rule; compared with
# medSpaCy's file in tests/parity/clinical/test_ratescore.py.
_MEDSPACY_RULES: dict[str, list[list[str]]] = {
    r"\s+\s+(\d\d\)\s+\C": [[r"\a)\e", "2", "stend"], [r"\a)\w+\e", "2", "stend"]],
    r"\sand)\n+\c": [[r"\s\a\.\w+and", "3", "stend"], [r"\.\a\.\w+and", "3", "stend"]],
}


def sentence_rules() -> list[list[str]]:
    """Read medSpaCy's rules for English.

    Returns:
        Rows of pattern, score and kind of boundary, comments among them.

    Raises:
        ModelError: PyRuSH's rules are not those of the pinned version.
    """
    package = find_spec("PyRuSH")
    assert package is not None and package.origin is not None
    file = Path(package.origin).parents[1] / "conf" / "rush_rules.tsv"
    rows: list[list[str]] = []
    placed = 0
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.reader(lines, delimiter="\t"):
            rows.append(row)
            if row and row[0] in _MEDSPACY_RULES:
                rows.extend(_MEDSPACY_RULES[row[0]])
                placed += 1
    if placed != len(_MEDSPACY_RULES):
        raise ModelError(
            f"{file}: not the rules of PyRuSH 1.0.13; reinstall editgrpo with constraints.txt"
        )
    return rows


def load_rush() -> RuSH:
    """Return PyRuSH as medSpaCy sets it up, with the faster matcher."""
    rush = RuSH(rules=[], max_repeat=_MAX_REPEAT)
    rush.fastner = BoundaryMatcher(sentence_rules())
    # The rules have PyRuSH's older form, in which an odd score marks a rule that forbids.
    rush.backCompatableParseRule()
    return rush


class BoundaryMatcher(FastCNER):  # type: ignore[misc]
    """PyFastNER's matcher, asked only where a rule can match."""

    def __init__(self, rules: list[list[str]]) -> None:
        """Read the rules.

        Args:
            rules: As `sentence_rules` returns them.
        """
        super().__init__(rules, max_repeat=_MAX_REPEAT)
        self.span_compare_method = "scorewidth"
        self._may_match: re.Pattern[str] | None = None

    def process(
        self, text: str, offset: int = 0, matches: dict[str, list[Span]] | None = None
    ) -> dict[str, list[Span]]:
        """Find the boundaries in a text, as PyFastNER's method of this name does.

        Args:
            text: The report.
            offset: What its first character counts as.
            matches: Kind of boundary to a list; filled.

        Returns:
            `matches`.
        """
        found: dict[str, list[Span]] = {} if matches is None else matches
        if self._may_match is None:  # not earlier: the tree of rules is rebuilt after __init__
            self._may_match = rule_pattern(self.rule_map, end=FastCNER.END, max_repeat=_MAX_REPEAT)
        self.offset = offset
        self.overlap_checkers.clear()
        positions = (match.start() for match in self._may_match.finditer(text, 1))
        for position in (0, *positions) if text else ():
            before = text[position - 1] if position else " "
            self.processRules(text, self.rule_map, position, 0, position, found, before, False, " ")
        self.removePseudo(found)
        return found
