"""Text to tokens and back, of all three kinds of file."""

import itertools
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from models.asr.fastconformer.vocabulary import (
    SentencePieceVocabulary,
    TokenizersVocabulary,
    Vocabulary,
    VocabularyError,
    load,
)
from tests.models.asr.fastconformer import small

OWN = small.vocabulary()
PIECES = SentencePieceVocabulary(small.sentencepiece_model())
BYTES = SentencePieceVocabulary(small.sentencepiece_model(320, bytes_too=True))
_TAGGED = ["\u2581", "\u2581hi", "!", "<en-US>", "<", "m", "mt", "-", "M", "T", ">", "MT>", "\u2581<mt-"]
TAGGED = TokenizersVocabulary(
    tokenizers.Tokenizer(models.BPE({text: number for number, text in enumerate(_TAGGED)}, []))
)


@pytest.mark.parametrize("vocabulary", [OWN, PIECES, BYTES, TAGGED])
@given(data=st.data())
def test_more_tokens_only_add_text(vocabulary: Vocabulary, data: st.DataObject) -> None:
    tokens = data.draw(st.lists(st.integers(0, len(vocabulary) - 1), max_size=20))
    texts = [vocabulary.decode(tokens[:count]) for count in range(len(tokens) + 1)]
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(texts))


def test_decoding_is_that_of_the_libraries() -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=small.sentencepiece_model())
    for text in small.CASED:
        assert PIECES.decode(PIECES.encode(text)) == processor.Decode(processor.Encode(text)) == text
    tokenizer = tokenizers.Tokenizer.from_str(OWN.serialised())
    for text in small.SENTENCES:
        assert OWN.decode(OWN.encode(text)) == tokenizer.decode(tokenizer.encode(text).ids) == text


def test_bytes_that_are_not_a_character_yet() -> None:
    tokens = BYTES.encode("ok €")
    texts = [BYTES.decode(tokens[:count]) for count in range(len(tokens) + 1)]
    assert texts[-1] == "ok €"
    assert not any("\N{REPLACEMENT CHARACTER}" in text for text in texts)


@pytest.mark.parametrize(
    ("text", "written"),
    [("Hello", "hello"), ("Wi-Fi, he said", "wi fi he said"), ("Déjà  vu", "deja vu"), ("it's", "it's"), ("!?", "")],
)
def test_what_users_type_is_brought_into_the_alphabet(text: str, written: str) -> None:
    assert OWN.decode(OWN.encode(text)) == written


def test_text_that_cannot_be_written() -> None:
    with pytest.raises(VocabularyError, match="'gpt 4'"):
        OWN.encode("gpt 4")
    with pytest.raises(VocabularyError, match="日本"):
        PIECES.encode("日本")


def test_word_starts() -> None:
    tokens = PIECES.encode("The dog")
    assert sum(PIECES.starts_word(token) for token in tokens) == 2


@pytest.mark.parametrize("vocabulary", [OWN, PIECES])
def test_saving(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path)
    again = load(tmp_path)
    assert len(again) == len(vocabulary)
    assert again.encode("the dog") == vocabulary.encode("the dog")


def test_special_tokens_write_nothing_and_the_blank_is_left_out(tmp_path: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_str(OWN.serialised())
    tokenizer.add_special_tokens(["<unk>", "<blank>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    vocabulary = load(tmp_path, small.VOCABULARY + 1)
    assert len(vocabulary) == small.VOCABULARY + 1
    assert vocabulary.decode([*OWN.encode("dog"), small.VOCABULARY]) == "dog"


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ("\u2581hi ! \u2581 <en-US> \u2581hi <en-US>", "hi! hi"),
        ("\u2581hi \u2581 < m T > <en-US> !", "hi <mT>!"),
        ("\u2581hi \u2581 < mt - M T > \u2581hi", "hi hi"),
        ("\u2581hi \u2581<mt- MT>", "hi"),
        ("\u2581hi \u2581<mt- M", "hi"),
        ("\u2581hi \u2581<mt- mt", "hi <mt-mt"),
        ("<en-US>", ""),
    ],
)
def test_language_tags_are_left_out(pieces: str, text: str) -> None:
    """As one token, as many, and those that may become one; with the space before them."""
    assert TAGGED.decode([_TAGGED.index(piece) for piece in pieces.split(" ")]) == text
    assert TAGGED.tags == {_TAGGED.index("<en-US>"): "en"}


@pytest.mark.parametrize("contents", ["", "{}", "[1]", '{"model": {"type": "Other"}}'])
def test_damaged_files(contents: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(contents)
    with pytest.raises(VocabularyError, match=r"tokenizer\.json"):
        load(tmp_path)


def test_a_byte_level_tokenizer(tmp_path: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(models.BPE({text: number for number, text in enumerate(alphabet)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    with pytest.raises(VocabularyError, match=r"U\+2581"):
        TokenizersVocabulary(tokenizer)


def test_no_file_or_another_one(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"has no tokenizer\.json"):
        load(tmp_path)
    with pytest.raises(VocabularyError, match="not a SentencePiece model"):
        SentencePieceVocabulary(b"something else")
