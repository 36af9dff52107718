"""Whether text holds a token that the tokenizer at hand adds to its vocabulary.

A tokenizer reads such a token wherever it stands, in a report as in its own template.
`data/special_tokens.py` knows those of the known families; this asks the tokenizer.
"""

import re
from collections.abc import Iterable

from editgrpo.data.special_tokens import CONTEXT_FIELDS
from editgrpo.data.study import Study
from editgrpo.errors import DataError
from editgrpo.training.policy.model import Tokenizer


class SpecialTokens:
    """The tokens that a tokenizer adds to its vocabulary, as a search.

    White space that is a token (Gemma's newlines) and plain words are ordinary text.

    Args:
        tokenizer: A transformers tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        marks = [token for token in added if token.strip(" \t\r\n\u2581") and not token.isalnum()]
        longest_first = sorted(marks, key=lambda token: (-len(token), token))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if marks else None

    def refuse(self, studies: Iterable[Study]) -> None:
        """Refuse studies with such a token in a text that reaches the model.

        Args:
            studies: The studies.

        Raises:
            DataError: A study has one; the message names study, field and token.
        """
        for study in studies:
            for name in (*CONTEXT_FIELDS, *study.target.sections):
                self.refuse_text(getattr(study, name), f"study {study.study_id!r}: field {name!r}")

    def refuse_text(self, text: str, place: str) -> None:
        """Refuse a text with such a token.

        Args:
            text: Any text that is not the chat template's own.
            place: Whose it is; begins the message.

        Raises:
            DataError: It has one.
        """
        token = self._pattern.search(text) if self._pattern is not None else None
        if token is not None:
            raise DataError(
                f"{place} holds {token.group()!r}, a special token of the model; remove it from "
                "the text and prepare the studies again"
            )
