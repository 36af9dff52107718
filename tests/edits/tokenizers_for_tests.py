"""Small tokenizers: a byte-level BPE built as Qwen2's is (NFC, its splitting pattern, special and
plain added tokens), and a BPE with byte fallback built as Gemma's."""

from dataclasses import dataclass
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from editgrpo.edits.codec import ByteFallbackCodec, ByteLevelCodec, TokenCodec
from editgrpo.training.policy.tiny_gemma3 import byte_fallback_bpe

# The pattern that Qwen2's published tokenizer splits by.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = (
    "The heart is normal in size.\n\nNo pleural effusion.\nThere is no pneumothorax. "
    "The lungs are clear. A small left effusion is seen. The tube ends in the stomach.\n\n"
    "Nodule of 5.2 mm. Fracture of the 3rd rib. Is there an oedema? Yes.  The spine is old."
) * 20


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer; about 400 tokens, so that many words are whole and many are not."""
    inner = Tokenizer(BPE())
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator([CORPUS], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|image_pad|>"]})
    plain = ["<tool_call>", "a b", ".\n\nQ"]  # the last two reach from one sentence into the next
    fast.add_tokens([AddedToken(text, special=False) for text in plain])
    return fast


@cache
def codec() -> ByteLevelCodec:
    """Wrap the tokenizer."""
    return ByteLevelCodec(tokenizer())


def eos_token_id() -> int:
    """Return the id of its end-of-sequence token."""
    return tokenizer().eos_token_id


@cache
def fallback_tokenizer() -> PreTrainedTokenizerFast:
    """Train a tokenizer whose pieces are characters, spaces written as U+2581, and 256 bytes; some
    pieces reach from one word into the next."""
    first = ["<pad>", "<eos>", "<bos>", "<unk>"]
    inner = byte_fallback_bpe([CORPUS.replace(" ", "\u2581")], first, 520, max_token_length=8)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<eos>",
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
    )
    fast.add_special_tokens({"additional_special_tokens": ["<start_of_image>"]})
    plain = ["<tool_call>", "\n\n", "\u2581\u2581"]  # runs of line breaks and spaces, as Gemma has
    fast.add_tokens([AddedToken(text, special=False, normalized=False) for text in plain])
    return fast


@dataclass(frozen=True, slots=True)
class Words:
    """A tokenizer with its codec."""

    tokenizer: PreTrainedTokenizerFast
    codec: TokenCodec
    image: str
    """A special token."""

    @property
    def eos(self) -> int:
        """The id of its end-of-sequence token."""
        return self.tokenizer.eos_token_id


@cache
def all_words() -> tuple[Words, Words]:
    """Return both: byte-level, and with byte fallback."""
    other = fallback_tokenizer()
    return (
        Words(tokenizer(), codec(), "<|image_pad|>"),
        Words(other, ByteFallbackCodec(other), "<start_of_image>"),
    )
