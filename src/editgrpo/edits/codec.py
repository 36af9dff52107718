"""Tokens as byte strings: what the splice needs to know of a tokenizer.

Byte-level BPE (GPT-2, Qwen2 and their kin) maps every token to a string of bytes, and so does BPE
with byte fallback (Gemma): any sequence of tokens whose bytes concatenate to a text decodes to that
text. No tokenizer library is imported here; the tokenizer is handed in.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from editgrpo.errors import EditError

_SPACE = "\u2581"  # how SentencePiece and its kin write a space
_BYTE_TOKEN = re.compile("<0x([0-9A-F]{2})>")
_PROBE = "No effusion.  The heart is large.\n"


class TokenCodec(Protocol):
    """Turns bytes into tokens and tokens into bytes, without loss."""

    def encode(self, data: bytes) -> list[int]:
        """Return token ids, none of them special, whose bytes concatenate to `data`, which need not
        be valid UTF-8."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes a token stands for in the decoded text; empty for special tokens."""
        ...


class FastTokenizer(Protocol):
    """The part of a Hugging Face fast tokenizer that codecs use."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """Added tokens by id; each says with `.special` whether decoding may skip it."""
        ...

    def get_vocab(self) -> Mapping[str, int]:
        """Return every token as the vocabulary writes it with its id; added tokens included."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Tokenise a text."""
        ...


class _VocabularyCodec(ABC):
    """A `TokenCodec` over a vocabulary in which every byte has a token.

    Special tokens stand for no bytes, as in `decode(..., skip_special_tokens=True)`. Added tokens
    that are not special stand for their literal text. Ids that no token has stand for no bytes.
    """

    def __init__(self, tokenizer: FastTokenizer) -> None:
        """Read the vocabulary.

        Args:
            tokenizer: A Hugging Face fast tokenizer.

        Raises:
            EditError: the vocabulary lacks some of the 256 byte tokens, so that not every text can
                be spelled.
        """
        vocabulary = tokenizer.get_vocab()
        names = [self._names_of_byte(byte) for byte in range(256)]
        known = [[name for name in of_byte if name in vocabulary] for of_byte in names]
        missing = sum(not of_byte for of_byte in known)
        if missing:
            raise EditError(
                f"the tokenizer lacks {missing} of the 256 byte tokens; the splice needs a "
                f"{self.kind}"
            )
        self._tokenizer = tokenizer
        self._token_of_byte = [vocabulary[of_byte[0]] for of_byte in known]
        self._name_of_token = {token_id: name for name, token_id in vocabulary.items()}
        self._bytes_of_token: dict[int, bytes] = {
            token_id: b"" if token.special else self._read_added(token.content)
            for token_id, token in tokenizer.added_tokens_decoder.items()
        }

    kind: str
    """What it takes, and what to do with another."""

    @abstractmethod
    def _names_of_byte(self, byte: int) -> list[str]:
        """Return how a vocabulary may write the token of a byte, the best one first."""

    @abstractmethod
    def _read(self, name: str) -> bytes:
        """Return the bytes of a token that is not an added one."""

    @abstractmethod
    def _read_added(self, content: str) -> bytes:
        """Return the bytes of an added token."""

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes a token stands for.

        Args:
            token_id: Any id, also one beyond the vocabulary.

        Returns:
            Its bytes, which need not be valid UTF-8; empty for special and unknown tokens.
        """
        if token_id not in self._bytes_of_token:
            self._bytes_of_token[token_id] = self._read(self._name_of_token.get(token_id, ""))
        return self._bytes_of_token[token_id]

    def encode(self, data: bytes) -> list[int]:
        """Tokenise bytes so that exactly they come back.

        The tokenizer alone does not promise that: it may normalise Unicode, and it reads the
        literal text of a special token as that token. Where the bytes would not come back, the two
        halves are tokenised apart, down to single bytes.

        Args:
            data: Any bytes.

        Returns:
            Token ids; empty for no bytes.
        """
        if not data:
            return []
        if len(data) == 1:
            return [self._token_of_byte[data[0]]]
        text = _as_text(data)
        if text is not None:
            token_ids = list(self._tokenizer.encode(text, add_special_tokens=False))
            if join_bytes(token_ids, self) == data:
                return token_ids
        middle = _middle(data)
        return self.encode(data[:middle]) + self.encode(data[middle:])


class ByteLevelCodec(_VocabularyCodec):
    """A `TokenCodec` over a byte-level tokenizer such as Qwen2's or GPT-2's."""

    kind = "byte-level BPE (train it with the whole byte-level alphabet)"

    def __init__(self, tokenizer: FastTokenizer) -> None:
        """Read the vocabulary; see `_VocabularyCodec`."""
        self._symbols = byte_symbols()
        self._byte_of_symbol = {symbol: byte for byte, symbol in enumerate(self._symbols)}
        super().__init__(tokenizer)

    def _names_of_byte(self, byte: int) -> list[str]:
        return [self._symbols[byte]]

    def _read(self, name: str) -> bytes:
        return bytes(self._byte_of_symbol[symbol] for symbol in name)

    def _read_added(self, content: str) -> bytes:
        return content.encode("utf-8")


class ByteFallbackCodec(_VocabularyCodec):
    """A `TokenCodec` over a BPE of characters that writes a space as U+2581 and spells what it does
    not know byte by byte, such as Gemma's."""

    kind = "byte-level BPE, or one with the byte tokens <0x00> to <0xFF>"

    def _names_of_byte(self, byte: int) -> list[str]:
        plain = [chr(byte).replace(" ", _SPACE)] if byte < 0x80 else []
        return [*plain, f"<0x{byte:02X}>"]

    def _read(self, name: str) -> bytes:
        spelled = _BYTE_TOKEN.fullmatch(name)
        if spelled is not None:
            return bytes([int(spelled[1], 16)])
        return name.replace(_SPACE, " ").encode("utf-8")

    def _read_added(self, content: str) -> bytes:
        return self._read(content)  # Gemma has added tokens for runs of spaces, written alike


def codec_of(tokenizer: FastTokenizer) -> TokenCodec:
    """Choose the codec of a tokenizer by its vocabulary.

    Args:
        tokenizer: A Hugging Face fast tokenizer.

    Returns:
        Its codec.

    Raises:
        EditError: it has no token for each byte, or does not give a text back as it was, such as
            Llama 2's, which adds a space to its beginning.
    """
    is_byte_level = all(symbol in tokenizer.get_vocab() for symbol in byte_symbols())
    codec = (ByteLevelCodec if is_byte_level else ByteFallbackCodec)(tokenizer)
    ids = tokenizer.encode(_PROBE, add_special_tokens=False)
    found = join_bytes(ids, codec).decode("utf-8", errors="replace")
    if found != _PROBE:
        raise EditError(
            f"the tokenizer reads {_PROBE!r} as {found!r}; the splice needs one that keeps a text "
            "as it is"
        )
    return codec


def byte_symbols() -> list[str]:
    """Return the character by which byte-level vocabularies write each byte 0 to 255.

    Printable bytes of Latin-1 stand for themselves, the others take the characters from U+0100 on,
    in order.

    Source: GPT-2's byte-level BPE (Radford et al. 2019); Qwen2 uses the same alphabet.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def join_bytes(token_ids: Sequence[int], codec: TokenCodec) -> bytes:
    """Return the concatenated bytes of a sequence of tokens."""
    return b"".join(codec.token_bytes(token_id) for token_id in token_ids)


def until_end(token_ids: Sequence[int], eos_token_id: int) -> tuple[int, ...]:
    """Return the tokens before the first end-of-sequence token; all of them if there is none."""
    ids = tuple(int(token_id) for token_id in token_ids)
    return ids[: ids.index(eos_token_id)] if eos_token_id in ids else ids


def decode_completion(token_ids: Sequence[int], *, codec: TokenCodec, eos_token_id: int) -> str:
    """Decode a completion to the text that is split, annotated, edited and scored.

    For a byte-level tokenizer this equals `decode(ids, skip_special_tokens=True,
    clean_up_tokenization_spaces=False)` of the tokens before the first end-of-sequence token.

    Args:
        token_ids: Sampled ids; what follows the first end-of-sequence token is ignored.
        codec: What the tokens stand for.
        eos_token_id: The end-of-sequence token.

    Returns:
        The text; bytes that are not valid UTF-8 become U+FFFD.
    """
    return join_bytes(until_end(token_ids, eos_token_id), codec).decode("utf-8", errors="replace")


def character_offsets(data: bytes) -> list[int]:
    """Return where each character of `data.decode("utf-8", errors="replace")` starts.

    Args:
        data: Any bytes.

    Returns:
        For every character the index of its first byte, ascending, and `len(data)` at the end.
    """
    offsets: list[int] = []
    position = 0
    while position < len(data):
        valid_end, invalid_end = len(data), len(data)
        try:
            data[position:].decode("utf-8")
        except UnicodeDecodeError as error:
            valid_end, invalid_end = position + error.start, position + error.end
        # In valid UTF-8 a character starts at every byte that is not of the form 10xxxxxx.
        offsets += [i for i in range(position, valid_end) if data[i] & 0xC0 != 0x80]
        if valid_end < len(data):
            offsets.append(valid_end)
        position = invalid_end
    return [*offsets, len(data)]


def _as_text(data: bytes) -> str | None:
    """Return the bytes as text, None if they are not valid UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _middle(data: bytes) -> int:
    """Return where to halve at least two bytes, at the start of a character if there is one."""
    offsets = character_offsets(data)
    return offsets[len(offsets) // 2] if len(offsets) > 2 else len(data) // 2
