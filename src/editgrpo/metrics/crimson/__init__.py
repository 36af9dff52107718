"""CRIMSON: a language model lists the abnormal findings of both reports, says how much each matters
and which agree; the score weighs what is right against what is made up (arXiv:2603.06183).

The judge is asked on a server (`judge.py`); its answer is one JSON object, read and scored in
`score.py`. The question is ours (`prompt.txt`) or the user's (`prompt.py`): the authors' wording is
not part of this package.
"""

from editgrpo.metrics.crimson.judge import CrimsonJudge
from editgrpo.metrics.crimson.score import AttributeErrorKind, CrimsonResult, score_judgement

__all__ = ["AttributeErrorKind", "CrimsonJudge", "CrimsonResult", "score_judgement"]
