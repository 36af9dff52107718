"""GREEN: a 7B language model that counts the errors of a report against its reference.

A judgement takes seconds, and a policy trained against a language model learns to please it: as a
reward it is for those who have a server for it. The judge answers one fixed question (`prompt.py`);
its answer is read in `parse.py`. It runs here (`local.py`) or on a server (`endpoint.py`).
"""

from editgrpo.metrics.green.judge import GreenJudge
from editgrpo.metrics.green.parse import ErrorKind, GreenResult, parse_answer

__all__ = ["ErrorKind", "GreenJudge", "GreenResult", "parse_answer"]
