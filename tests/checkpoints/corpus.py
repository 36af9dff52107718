"""Invented report sentences, and vocabularies made from texts, the same in every process: trainers
of vocabularies break ties differently each time."""

import re
from collections import Counter
from collections.abc import Iterable

SENTENCES: tuple[str, ...] = (
    "The heart size is normal.",
    "The cardiac silhouette is mildly enlarged.",
    "There is a small left pleural effusion.",
    "No pleural effusion or pneumothorax is seen.",
    "The lungs are clear without focal consolidation.",
    "Patchy opacity at the right lung base may reflect atelectasis or pneumonia.",
    "Mild pulmonary edema has improved since the prior study.",
    "A right internal jugular catheter ends in the lower superior vena cava.",
    "The endotracheal tube ends 4 cm above the carina.",
    "Old healed fractures of the left sixth and seventh ribs.",
    "A 12 mm nodule projects over the right upper lobe.",
    "The mediastinal contours are widened, unchanged.",
    "Low lung volumes with bibasilar crowding of the vessels.",
    "Degenerative changes of the thoracic spine.",
    "Blunting of the costophrenic angle suggests scarring.",
    "Median sternotomy wires are intact; hyperinflation in keeping with emphysema.",
)


def frequent_words(texts: Iterable[str], count: int) -> list[tuple[str, int]]:
    """Return the most frequent lower-case words of two letters or more, with their numbers.

    Equally frequent ones come in the order of their first use.
    """
    words = Counter(word for text in texts for word in re.findall(r"[a-z]{2,}", text.lower()))
    return words.most_common(max(count, 0))


CHARACTERS: tuple[str, ...] = (
    *(chr(code) for code in range(33, 127) if not chr(code).isupper()),
    "é",
    "µ",
)
"""Characters of lower-cased texts that every vocabulary here knows."""


def word_pieces(texts: Iterable[str], size: int, special: Iterable[str]) -> list[str]:
    """Make a WordPiece vocabulary.

    Args:
        texts: What its words are taken from.
        size: Most pieces.
        special: Its first tokens.

    Returns:
        Special tokens, characters at the beginning and inside of words, frequent words; at most
        `size` of them, fewer where the texts have no more words.
    """
    pieces = [*special, *CHARACTERS, *(f"##{each}" for each in CHARACTERS)]
    return pieces + [word for word, _ in frequent_words(texts, size - len(pieces))]
