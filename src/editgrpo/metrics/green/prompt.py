"""The question that the judge was trained to answer, word for word; another wording is another
metric.

The text stands in `prompt.txt`; its origin and licence in `prompt.txt.license`.
"""

from functools import lru_cache
from pathlib import Path
from string import Template

MAX_REPORT_WORDS = 300
"""Words of each report that the judge is shown.

RadEval 2.2.1, as are the chat markers and the limit on tokens; the judge's own repository has
shown 200 words, 300 and all of them.
"""

MAX_TOKENS = 2048
"""Most tokens of question and answer together."""

BEFORE_ANSWER = "<|assistant|>"
_EOS = "</s>"


def build_prompt(reference: str, candidate: str) -> str:
    """Put the question about one pair of reports.

    Args:
        reference: The reference report.
        candidate: The report that is judged.

    Returns:
        The question, with runs of white space in the reports made one space, and each report cut
        to `MAX_REPORT_WORDS`.
    """
    return _template().substitute(reference=_cut(reference), candidate=_cut(candidate))


def chat_text(prompt: str) -> str:
    """Wrap a question in the judge's chat markers.

    An empty answer stands before the one that is asked for: so does RadEval 2.2.1, and so did the
    judge's repository when its scores were published.

    Args:
        prompt: What `build_prompt` made.

    Returns:
        Text for a tokenizer that puts its beginning-of-sequence token before it. The end token at
        the end belongs to it: the judge's tokenizer was told to add one.
    """
    return f"<|user|>\n{prompt}{_EOS}\n{BEFORE_ANSWER}\n{_EOS}\n{BEFORE_ANSWER}\n{_EOS}"


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template((Path(__file__).parent / "prompt.txt").read_text(encoding="utf-8"))


def _cut(report: str) -> str:
    return " ".join(report.split()[:MAX_REPORT_WORDS])
