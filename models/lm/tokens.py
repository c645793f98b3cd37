"""Text to tokens and back: byte-level BPE from `tokenizer.json`, and the chat template."""

import codecs
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import decoders

from models.lm.config import UnsupportedModel

INVISIBLE = "\u2060"
"""Word joiner: put into a message's text where it would read as markup of the template."""

Messages = Sequence[Mapping[str, Any]]


class PromptError(Exception):
    """The messages do not fit the chat template, or there is none."""


class Tokenizer:
    """Encodes text and conversations; `stop_tokens` are those that end a reply, `markup` special tokens' text."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        template: str | None,
        stop_tokens: frozenset[int],
        variables: Mapping[str, str],
    ) -> None:
        """`variables` are the template's: `bos_token`, `eos_token`."""
        if not isinstance(tokenizer.decoder, decoders.ByteLevel):
            raise UnsupportedModel(f"tokenizer decoder {tokenizer.decoder!r} is not implemented, only ByteLevel")
        self._tokenizer = tokenizer
        self._variables = variables
        self.stop_tokens = stop_tokens
        added = tokenizer.get_added_tokens_decoder()
        self.markup = tuple(token.content for token in added.values() if token.special)
        vocabulary = {index: text for text, index in tokenizer.get_vocab(with_added_tokens=False).items()}
        self._bytes = {
            index: bytes(map(_BYTES.__getitem__, text)) for index, text in vocabulary.items() if index not in added
        }
        self._bytes |= {index: token.content.encode() for index, token in added.items() if not token.special}
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _raise
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
        self._template = None if template is None else environment.from_string(template)
        self.template = template or ""

    def encode(self, text: str) -> list[int]:
        """Token ids; special tokens are recognised, none are added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def bytes_of(self, token: int) -> bytes:
        """What a token adds to the text; nothing for markup and for ids that only pad the vocabulary."""
        return self._bytes.get(token, b"")

    def render(self, messages: Messages, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The text that asks for a reply to `messages`, with markup within them made harmless; `tools` is for templates
        that have a place for them. Raises PromptError.
        """
        if self._template is None:
            raise PromptError("this checkpoint has no chat template: send tokens")
        variables: dict[str, Any] = {**self._variables, "messages": self._harmless(messages)}
        if tools:
            variables["tools"] = self._harmless(tools)
        try:
            return self._template.render(add_generation_prompt=True, **variables)
        except (TemplateError, TypeError) as error:
            raise PromptError(f"the messages do not fit the chat template: {error}") from error

    def serialised(self) -> str:
        """The tokenizer as `tokenizer.json` has it."""
        return self._tokenizer.to_str()

    def _harmless(self, value: Any) -> Any:
        """Someone who says "<|im_end|>" must not end their message."""
        if isinstance(value, str):
            for mark in self.markup:
                value = value.replace(mark, mark[:1] + INVISIBLE + mark[1:])
            return value
        if isinstance(value, Mapping):
            return {self._harmless(name): self._harmless(item) for name, item in value.items()}
        if isinstance(value, Sequence):
            return [self._harmless(item) for item in value]
        return value


class Detokenizer:
    """Turns a stream of tokens into text, never splitting a UTF-8 character; invalid bytes become U+FFFD."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that `token` completes."""
        return self._decoder.decode(self._tokenizer.bytes_of(token))

    def flush(self) -> str:
        """No more tokens come: U+FFFD if they ended inside a character."""
        return self._decoder.decode(b"", final=True)


def load(directory: Path) -> Tokenizer:
    """The tokenizer of a checkpoint. Raises UnsupportedModel, and FileNotFoundError for a missing tokenizer.json."""
    tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    settings = _json(directory / "tokenizer_config.json")
    variables = {name: _text(settings[name]) for name in ("bos_token", "eos_token") if settings.get(name)}
    ends = _json(directory / "generation_config.json").get("eos_token_id")
    ends = _json(directory / "config.json").get("eos_token_id") if ends is None else ends
    stop_tokens = {ends} if isinstance(ends, int) else set(ends or ())
    if "eos_token" in variables:
        stop_tokens.add(tokenizer.token_to_id(variables["eos_token"]))
    template = directory / "chat_template.jinja"
    text = template.read_text() if template.exists() else settings.get("chat_template")
    return Tokenizer(tokenizer, text, frozenset(stop_tokens), variables)


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _text(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])


def _raise(message: str) -> None:
    raise TemplateError(message)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte: itself where it prints, else the next character from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_alphabet()
