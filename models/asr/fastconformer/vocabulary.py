"""Token numbers to text and back: pieces of words, where U+2581 stands for the space before a word."""

import codecs
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
import tokenizers

SPACE = "\u2581"
TOKENIZER_JSON = "tokenizer.json"
SENTENCEPIECE_MODEL = "tokenizer.model"
_TAG = re.compile(r"<([a-z]{2,3})-[A-Z]{2}>")
"""What networks of many languages write after a sentence: its language and country."""
_TAG_SO_FAR = re.compile(rf"{_TAG.pattern}|<([a-z]{{0,3}}|[a-z]{{2,3}}-[A-Z]{{0,2}})\Z")
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class VocabularyError(ValueError):
    """The file holds no vocabulary of this kind, or the text has a character that no token stands for."""


class Vocabulary(ABC):
    """The tokens of one checkpoint, without the blank."""

    def __init__(self, pieces: Sequence[str | None]) -> None:
        """`pieces` by number; None writes nothing."""
        self._pieces = [_bytes(piece) for piece in pieces]
        tags = [(number, _TAG.fullmatch(piece)) for number, piece in enumerate(pieces) if piece]
        self.tags = {number: tag[1] for number, tag in tags if tag}
        """Tokens that name the language of what was said before them, as its code."""

    def __len__(self) -> int:
        return len(self._pieces)

    def starts_word(self, token: int) -> bool:
        """Whether a space comes before the token."""
        return self._pieces[token].startswith(b" ")

    def decode(self, tokens: Sequence[int]) -> str:
        """Their text, which only grows with more tokens: a character whose bytes are not all there yet is left out,
        bytes that are no character are U+FFFD. Where there are tags, those spelled in many tokens are left out too.
        """
        text = b"".join(self._pieces[token] for token in tokens)
        decoded = codecs.getincrementaldecoder("utf-8")("replace").decode(text)
        return _untagged(decoded) if self.tags else decoded.lstrip(" ")

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`: as it is, else in lower case, else with neither accents nor punctuation. Raises
        VocabularyError if it cannot be written so either.
        """
        for form in (text, text.lower(), _plain(text.lower())):
            tokens = self._encode(" ".join(form.split()))
            if _bare(self.decode(tokens)) == _bare(form):
                return tokens
        raise VocabularyError(f"the vocabulary has no tokens for {text!r}")

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the file that `load` reads."""

    @abstractmethod
    def _encode(self, text: str) -> list[int]:
        """Tokens of `text`; what cannot be written is left out or becomes a token that writes nothing."""


class TokenizersVocabulary(Vocabulary):
    """From a `tokenizer.json` of the `tokenizers` library; tokens marked as special write nothing."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, size: int | None = None) -> None:
        """`size` leaves out tokens from that number on, such as a blank."""
        special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        pieces: list[str | None] = [None] * tokenizer.get_vocab_size()
        for piece, number in tokenizer.get_vocab().items():
            if number >= len(pieces):
                raise VocabularyError(f"token {number} ({piece!r}) of {len(pieces)}: numbers must have no gaps")
            pieces[number] = piece if number not in special or _TAG.fullmatch(piece) else None
        if not any(piece and piece.startswith(SPACE) for piece in pieces):
            raise VocabularyError("no token starts with U+2581: only vocabularies that write spaces so are implemented")
        super().__init__(pieces[:size])
        self._tokenizer = tokenizer

    def serialised(self) -> str:
        """The tokenizer as `tokenizer.json` has it."""
        return self._tokenizer.to_str()

    def save(self, directory: Path) -> None:
        self._tokenizer.save(str(directory / TOKENIZER_JSON))

    def _encode(self, text: str) -> list[int]:
        numbers = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [number for number in numbers if number < len(self)]


class SentencePieceVocabulary(Vocabulary):
    """From the bytes of a SentencePiece model; control and unknown tokens write nothing."""

    def __init__(self, model: bytes) -> None:
        if not model:
            raise VocabularyError("not a SentencePiece model")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise VocabularyError("not a SentencePiece model") from error
        silent = self._processor.IsControl, self._processor.IsUnknown
        super().__init__(
            [
                None if any(test(number) for test in silent) else self._processor.IdToPiece(number)
                for number in range(len(self._processor))
            ]
        )
        self._model = model

    def save(self, directory: Path) -> None:
        (directory / SENTENCEPIECE_MODEL).write_bytes(self._model)

    def _encode(self, text: str) -> list[int]:
        return list(self._processor.Encode(text))


def load(directory: Path, size: int | None = None) -> Vocabulary:
    """The vocabulary of a checkpoint in `directory`, of at most `size` tokens. Raises VocabularyError."""
    path = directory / TOKENIZER_JSON
    if not path.exists():
        if (directory / SENTENCEPIECE_MODEL).exists():
            return SentencePieceVocabulary((directory / SENTENCEPIECE_MODEL).read_bytes())
        raise VocabularyError(f"{directory} has no {TOKENIZER_JSON} or {SENTENCEPIECE_MODEL}")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise VocabularyError(f"{TOKENIZER_JSON}: {error}") from error
    return TokenizersVocabulary(tokenizer, size)


def _bytes(piece: str | None) -> bytes:
    if piece is None:
        return b""
    byte = _BYTE.fullmatch(piece)
    return bytes.fromhex(byte[1]) if byte else piece.replace(SPACE, " ").encode()


def _untagged(text: str) -> str:
    """Without tags, what may become one, and the space before them."""
    return " ".join(word for word in _TAG_SO_FAR.sub("", text).split(" ") if word)


def _plain(text: str) -> str:
    """Without accents, and with spaces for punctuation other than the apostrophe."""
    letters = (char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return "".join(char if char.isalnum() or char == "'" else " " for char in letters)


def _bare(text: str) -> str:
    """What must survive encoding and decoding: spaces and compatible forms need not."""
    return "".join(unicodedata.normalize("NFKC", text).split())
