"""What crimson-score says: questions, and the scores of judgements.

Request: `reports` (pairs reference, candidate), `guidelines` (whether the question has the parts
that the published judge was trained without), `judgements`, `answers` (texts to read). Answer:
`system`, `questions`, `scores`, `counts`, and `read`: judgements, null where the package raises.
"""

import inspect
import json
import re
import sys
from typing import Any

from CRIMSON import generate_score

request = json.load(sys.stdin)
with_guidelines = request["guidelines"]
scorer = generate_score.CRIMSONScore.__new__(generate_score.CRIMSONScore)
scorer.api = "openai"  # decides nothing here but that `guidelines` is obeyed


def read(answer: str) -> Any:
    try:
        return generate_score.parse_json_response(answer)
    except ValueError:
        return None


results = [scorer._calculate_crimson(judgement) for judgement in request["judgements"]]
said = {
    "system": re.search(r'"role": "system", "content": "(.+?)"', inspect.getsource(generate_score))[
        1
    ],
    "questions": [
        scorer._build_evaluation_prompt(*pair, include_guidelines=with_guidelines)
        for pair in request["reports"]
    ],
    "scores": [result["crimson_score"] for result in results],
    "counts": [result["error_counts"] for result in results],
    "read": [read(answer) for answer in request["answers"]],
}
sys.stdout.write(json.dumps(said) + "\n")
