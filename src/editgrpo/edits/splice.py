"""From an edit to token ids: sampled tokens stay wherever their text stays.

The edited completion decodes to the edited text, byte for byte, and ends in one end-of-sequence
token. What stays and what stands between sentences is decided in `layout.py`; what a token stands
for in `codec.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from editgrpo.edits.codec import (
    ByteLevelCodec,
    TokenCodec,
    character_offsets,
    decode_completion,
    join_bytes,
    until_end,
)
from editgrpo.edits.edit import Edit
from editgrpo.edits.layout import Kept, New, Part, check_spans, complete_spans, lay_out
from editgrpo.edits.layout_sections import lay_out_sections
from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport, Span

__all__ = [
    "ByteLevelCodec",
    "SplicedCompletion",
    "TokenCodec",
    "complete_spans",
    "decode_completion",
    "splice_completion",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class SplicedCompletion:
    """The tokens of an edited rollout.

    Attributes:
        token_ids: T ids; the last, and only the last, is the end-of-sequence token.
        text: What the tokens before it decode to.
        is_inserted_T: T flags, True for tokens that stand for text of an inserted sentence.
        source_T: For each of the T tokens which token of the rollout it is; None for one that the
            rollout does not hold.
    """

    token_ids: tuple[int, ...]
    text: str
    is_inserted_T: tuple[bool, ...]
    source_T: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    """A sampled token that stays, or a token of re-encoded bytes."""

    token_id: int
    is_inserted: bool = False
    source: int | None = None


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Bytes that must be encoded. Those of a kept sentence are encoded alone; white space is
    encoded together with the inserted sentence beside it, as the tokenizer would have done."""

    data: bytes
    is_kept_sentence: bool = False
    is_inserted: bool = False


def splice_completion(
    token_ids: Sequence[int],
    *,
    spans: Sequence[Span],
    edit: Edit,
    reference: AnnotatedReport,
    codec: TokenCodec,
    eos_token_id: int,
    max_tokens: int,
) -> SplicedCompletion | None:
    """Apply an edit to the tokens of a rollout.

    Args:
        token_ids: The sampled ids. What follows the first end-of-sequence token is ignored; without
            one the rollout counts as truncated, and what follows its last span is dropped, padding
            and other special tokens included.
        spans: The sentences of `decode_completion(token_ids)`, in order, the k-th for sentence k of
            the report that was edited; for a truncated rollout those of `complete_spans`.
        edit: The edit of that report.
        reference: The report that the edit took sentences from.
        codec: What the tokens stand for.
        eos_token_id: The end-of-sequence token.
        max_tokens: The most tokens a completion may have, its end-of-sequence token included.

    Returns:
        The edited completion; None if it is longer than `max_tokens`. Without an edit, a finished
        rollout comes back as it was sampled, up to its end-of-sequence token.

    Raises:
        EditError: the spans do not fit the text or the edit, or the codec loses bytes.
    """
    sampled = until_end(token_ids, eos_token_id)
    truncated = len(sampled) == len(token_ids)
    if truncated:
        sampled = _without_padding(sampled, codec)
    if edit.steps or truncated:
        tokens = _edited_tokens(
            sampled,
            spans=spans,
            edit=edit,
            reference=reference,
            codec=codec,
            truncated=truncated,
        )
    else:
        tokens = [_Token(token_id, source=k) for k, token_id in enumerate(sampled)]
    if len(tokens) + 1 > max_tokens:
        return None
    ids = tuple(token.token_id for token in tokens)
    return SplicedCompletion(
        token_ids=(*ids, eos_token_id),
        text=join_bytes(ids, codec).decode("utf-8", errors="replace"),
        is_inserted_T=(*(token.is_inserted for token in tokens), False),
        source_T=(*(token.source for token in tokens), None if truncated else len(sampled)),
    )


def _edited_tokens(
    sampled: Sequence[int],
    *,
    spans: Sequence[Span],
    edit: Edit,
    reference: AnnotatedReport,
    codec: TokenCodec,
    truncated: bool,
) -> list[_Token]:
    """Return the tokens of the edited text, without an end-of-sequence token."""
    data = join_bytes(sampled, codec)
    text = data.decode("utf-8", errors="replace")
    check_spans(spans, text, edit.sources)
    has_sections = any(one.section for one in (*reference.sentences, *edit.report.sentences))
    parts = (lay_out_sections if has_sections else lay_out)(
        text, spans=spans, sources=edit.sources, reference=reference, truncated=truncated
    )
    # Ranges count bytes from here on: a character may be spread over several tokens.
    offsets = character_offsets(data)
    parts_B = [_in_bytes(part, offsets) for part in parts]
    sentences_B = [Kept(offsets[span.start], offsets[span.end]) for span in spans]
    pieces = _pieces(sampled, data, parts_B, sentences_B, codec)
    tokens = list(_encode_pieces(pieces, codec))
    _check_bytes(tokens, data, parts_B, codec)
    return tokens


def _without_padding(sampled: tuple[int, ...], codec: TokenCodec) -> tuple[int, ...]:
    """Return the tokens up to the last one that stands for text."""
    while sampled and not codec.token_bytes(sampled[-1]):
        sampled = sampled[:-1]
    return sampled


def _in_bytes(part: Part, offsets: Sequence[int]) -> Part:
    """Return a part with its kept range counted in bytes instead of characters."""
    return part if isinstance(part, New) else Kept(offsets[part.start], offsets[part.end])


def _pieces(
    sampled: Sequence[int],
    data: bytes,
    parts_B: Sequence[Part],
    sentences_B: Sequence[Kept],
    codec: TokenCodec,
) -> Iterator[_Token | _Bytes]:
    """Yield, in order, the sampled tokens that stay and the bytes that must be encoded."""
    ends = list(accumulate(len(codec.token_bytes(token_id)) for token_id in sampled))
    starts = [0, *ends[:-1]]
    front = sentences_B[0].start if sentences_B else 0
    follows_space = False
    for part in _merge_neighbours(parts_B):
        if isinstance(part, New):
            yield _Bytes(part.text.encode("utf-8"), is_inserted=part.is_sentence)
            follows_space = not part.is_sentence
            continue
        # Only the first sentence may be without a space, and its first word is another token then.
        in_first_word = follows_space and part.start == front
        for source, (token_id, start, end) in enumerate(zip(sampled, starts, ends, strict=True)):
            if part.start <= start and end <= part.end:  # also tokens that stand for no bytes
                if in_first_word and (start == front or _is_inside_word(data, start)):
                    yield _Bytes(data[start:end])
                    continue
                in_first_word = False
                yield _Token(token_id, source=source)
            elif start < part.end and part.start < end:
                piece = Kept(max(start, part.start), min(end, part.end))
                yield from _cut(piece, data, sentences_B)


def _is_inside_word(data: bytes, position: int) -> bool:
    """Say whether a letter, a digit or part of a character beyond ASCII is at a position."""
    return data[position : position + 1].isalnum() or data[position : position + 1] >= b"\x80"


def _merge_neighbours(parts: Iterable[Part]) -> list[Part]:
    """Join kept parts that touch, so that a token across their border counts as kept."""
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, Kept) and isinstance(last, Kept) and last.end == part.start:
            merged[-1] = Kept(last.start, part.end)
        else:
            merged.append(part)
    return merged


def _cut(piece: Kept, data: bytes, sentences_B: Sequence[Kept]) -> Iterator[_Bytes]:
    """Yield the bytes of a piece of a token, cut where a sentence begins or ends."""
    borders = {border for sentence in sentences_B for border in (sentence.start, sentence.end)}
    inside = sorted(border for border in borders if piece.start < border < piece.end)
    for start, end in pairwise([piece.start, *inside, piece.end]):
        in_sentence = any(s.start <= start and end <= s.end for s in sentences_B)
        yield _Bytes(data[start:end], is_kept_sentence=in_sentence)


def _encode_pieces(pieces: Iterable[_Token | _Bytes], codec: TokenCodec) -> Iterator[_Token]:
    """Yield tokens for the pieces, encoding neighbouring bytes together where that is allowed."""
    for is_free, group in groupby(pieces, key=_may_be_joined):
        if is_free:
            yield from _encode([piece for piece in group if isinstance(piece, _Bytes)], codec)
            continue
        for piece in group:
            if isinstance(piece, _Token):
                yield piece
            else:
                yield from _encode([piece], codec)


def _may_be_joined(piece: _Token | _Bytes) -> bool:
    """Say whether a piece is encoded together with its neighbours of the same kind."""
    return isinstance(piece, _Bytes) and not piece.is_kept_sentence


def _encode(pieces: Sequence[_Bytes], codec: TokenCodec) -> Iterator[_Token]:
    """Encode neighbouring bytes in one go; a token is inserted if any of its bytes is."""
    is_inserted_B = [piece.is_inserted for piece in pieces for _ in piece.data]
    start = 0
    for token_id in codec.encode(b"".join(piece.data for piece in pieces)):
        end = start + len(codec.token_bytes(token_id))
        yield _Token(token_id, is_inserted=any(is_inserted_B[start:end]))
        start = end


def _check_bytes(
    tokens: Sequence[_Token], data: bytes, parts_B: Sequence[Part], codec: TokenCodec
) -> None:
    """Refuse a codec whose tokens do not decode to what was to be encoded."""
    wanted = b"".join(
        part.text.encode("utf-8") if isinstance(part, New) else data[part.start : part.end]
        for part in parts_B
    )
    if join_bytes([token.token_id for token in tokens], codec) != wanted:
        raise EditError(
            "the edited tokens do not decode to the edited text; the tokenizer is not byte-level"
        )
