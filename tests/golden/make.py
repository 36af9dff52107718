"""Write `rules.json`: what the offline annotator, labeler, edit and reward say of invented reports.

    python -m tests.golden.make

Run it when a number moves on purpose, and say in the change why it moved.
"""

import json
import platform
import random
from importlib.metadata import version
from pathlib import Path
from typing import Any

from editgrpo.edits import edit_report
from editgrpo.files import write_json
from editgrpo.reports import load_annotator, load_labeler
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.rewards import load_reward

GOLDEN = Path(__file__).parent / "rules.json"
SEED = 7

# Rollout and reference; all invented.
PAIRS = (
    ("The lungs are clear. Heart size is normal.", "The lungs are clear. Heart size is normal."),
    ("Heart size is normal.", "Moderate cardiomegaly. Small left pleural effusion."),
    ("Large right pneumothorax. The heart is normal.", "No pneumothorax. The heart is normal."),
    ("Left lower lobe consolidation.", "Right lower lobe consolidation with small effusion."),
    ("", "There is a fracture of the left sixth rib."),
    ("Possible atelectasis at the left base.", "Bibasilar atelectasis, unchanged from prior."),
    ("The effusion has resolved. Pacemaker in place.", "Pacemaker in place. No effusion."),
    ("Pulmonary edema. Pulmonary edema. Pulmonary edema.", "Mild pulmonary edema."),
    ("Nodule in the right upper lobe.", "Lungs are clear without nodule or mass."),
    ("no acute disease heart is enlarged", "The heart is enlarged. No acute disease."),
)


def outcome(rollout: str, reference: str) -> dict[str, Any]:
    """Return everything the rules say of one pair."""
    annotator, labeler = load_annotator("rules"), load_labeler("rules")
    before, target = annotator.annotate([rollout, reference])
    edit = edit_report(before, target, rng=random.Random(SEED))
    scores = load_reward("rules").score([rollout], [reference])
    labels = labeler.classify([rollout, reference])
    return {
        "rollout": rollout,
        "reference": reference,
        "entities": [
            [[e.text, e.type.value] for e in report.entities] for report in (before, target)
        ],
        "labels": [
            {name: int(row[i]) for i, name in enumerate(FINDINGS) if row[i]} for row in labels
        ],
        "rule": edit.rule.value,
        "edited": edit.report.text,
        "reward": {name: float(values[0]) for name, values in scores.components.items()},
    }


def golden() -> dict[str, Any]:
    """Return the whole file."""
    return {
        "made_with": {
            "editgrpo": version("editgrpo"),
            "numpy": version("numpy"),
            "python": platform.python_version(),
            "device": "cpu",
        },
        "pairs": [outcome(*pair) for pair in PAIRS],
    }


if __name__ == "__main__":
    write_json(GOLDEN, json.loads(json.dumps(golden())))
