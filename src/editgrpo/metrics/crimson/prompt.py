"""The question that CRIMSON's judge is asked: our wording, or the user's from a file.

The judge's answers, and so the scores, depend on the wording. That of the authors is in their
package and not in this one; docs/metrics.md has the command that writes it into a file for
`clinical.crimson_prompt`.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from string import Template

from editgrpo.errors import ConfigError

OWN = Path(__file__).parent / "prompt.txt"
"""Our wording. Written for this package; it is not what the published scores were made with."""

SEPARATOR = "---"
_PLACES = {"reference", "candidate"}


@dataclass(frozen=True, slots=True)
class CrimsonPrompt:
    """A wording of the question.

    Attributes:
        name: `own` or `given`, with the start of the text's hash: scores by different wordings do
            not compare.
        system: The system message; empty for none.
        user: The user's message with `$reference` and `$candidate`; `$$` stands for a dollar.
    """

    name: str
    system: str
    user: Template

    def question(self, reference: str, candidate: str) -> str:
        """Put the question about one pair of reports.

        Args:
            reference: The reference report, taken as it is.
            candidate: The report that is judged, taken as it is.

        Returns:
            The user's message.
        """
        return self.user.substitute(reference=reference, candidate=candidate)


@lru_cache(maxsize=8)
def load_prompt(path: str | None) -> CrimsonPrompt:
    """Read a wording.

    Args:
        path: A text file: a system message, a line `---`, the user's message; without such a line
            all of it is the user's message. None takes our wording.

    Returns:
        The wording.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8, or has other places than the two.
    """
    file = OWN if path is None else Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(
            f"clinical.crimson_prompt: {path} cannot be read ({reason}); give a text file, or null "
            "for this package's own wording"
        ) from error
    system, separator, user = text.partition(f"\n{SEPARATOR}\n")
    template = Template(user if separator else system)
    if not template.is_valid() or set(template.get_identifiers()) != _PLACES:
        raise ConfigError(
            f"clinical.crimson_prompt: {path} must name $reference and $candidate and nothing else "
            "with a dollar; write $$ for a dollar"
        )
    kind = "own" if path is None else "given"
    return CrimsonPrompt(
        name=f"{kind}:{sha256(text.encode()).hexdigest()[:12]}",
        system=system if separator else "",
        user=template,
    )
