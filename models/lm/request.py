"""Requests as the model serves them: prompt tokens, grammar, rules of sampling."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from models.base import Message, StreamError
from models.lm import generation, grammar
from models.lm.chat import Tool
from models.lm.constraint import GrammarError, Grammars
from models.lm.context import Window
from models.lm.generation import Options, Sampling
from models.lm.prompt import Prompter
from models.lm.tokens import Tokenizer

MAX_SEED = 2**64 - 1


class Request(msgspec.Struct, array_like=True, frozen=True, tag="request"):
    """A reply that is asked for; `number` counts the stream's requests from 0. It must follow `grammar`, if there is
    one; if it `may_call`, what follows the mark of calls is no text.
    """

    number: int
    tokens: tuple[int, ...]
    pinned: int
    sampling: Sampling
    seed: int
    max_tokens: int
    stop: tuple[str, ...]
    stop_tokens: frozenset[int]
    grammar: str | None
    may_call: bool
    slack_s: float


class RequestParser:
    """Reads `generate` messages for one checkpoint."""

    def __init__(
        self, tokenizer: Tokenizer, grammars: Grammars, vocab: int, window: Window, sampling: Sampling
    ) -> None:
        self._tokenizer = tokenizer
        self._grammars = grammars
        self._vocab = vocab
        self._window = window
        self._sampling = sampling
        self._prompter = Prompter(tokenizer, window.context)

    def parse(self, message: Message, number: int) -> Request:
        """Raises StreamError that names the field."""
        asked = generation.options(message.meta)
        seed = secrets.randbits(64) if asked.seed is None else asked.seed
        if seed > MAX_SEED:
            raise StreamError(f"seed must be at most {MAX_SEED}", param="seed")
        tools = grammar.chosen_tools(asked.tools, asked.tool_choice)
        tokens, max_tokens = self._prompt(asked)
        if max((*tokens, *asked.stop_tokens)) >= self._vocab:
            raise StreamError(f"token ids must be below {self._vocab}", param="tokens")
        return Request(
            number,
            tuple(tokens),
            asked.pinned,
            generation.sampling(asked, self._sampling),
            seed,
            max_tokens,
            asked.stop,
            self._tokenizer.stop_tokens.union(asked.stop_tokens),
            self._grammar(asked, tools),
            bool(tools),
            message.slack_s,
        )

    def _prompt(self, asked: Options) -> tuple[Sequence[int], int]:
        """The prompt and the most tokens that may follow it. A conversation's reply ends with the context, since its
        next prompt is cut at a turn; a prompt of tokens is cut while its reply goes on.
        """
        context = self._window.context
        if bool(asked.messages) == bool(asked.tokens):
            raise StreamError("generate wants either messages or tokens", param="messages")
        if asked.messages:
            reserve = min(asked.max_tokens or context, self._window.stride)
            tokens = self._prompter.write(asked.messages, asked.tools, reserve, asked.truncation)
            room = context - len(tokens)
            return tokens, min(asked.max_tokens or room, room)
        if asked.tools:
            raise StreamError("tools go with messages", param="tools")
        if asked.pinned > min(len(asked.tokens), self._window.max_pinned):
            limit = f"{len(asked.tokens)} tokens of the prompt and {self._window.max_pinned} of the context"
            raise StreamError(f"pinned must be at most the {limit}", param="pinned")
        return asked.tokens, asked.max_tokens or context

    def _grammar(self, asked: Options, tools: Sequence[Tool]) -> str | None:
        """The grammar that the reply must follow; it compiles."""
        arguments = grammar.argument_schemas(asked.tools, tools)
        answer = grammar.answer_schema(asked.response_format)
        choice = asked.tool_choice if asked.tools else "auto"
        text = grammar.write(answer, arguments, choice, self._prompter.format)
        if text is not None:
            try:
                self._grammars.constraint(text)
            except GrammarError as error:
                raise self._blame(asked, arguments, answer, error) from error
        return text

    def _blame(
        self,
        asked: Options,
        arguments: Mapping[str, Mapping[str, Any]],
        answer: Mapping[str, Any] | None,
        error: GrammarError,
    ) -> StreamError:
        """Whose schema made the grammar fail."""
        names = [tool.function.name for tool in asked.tools]
        suspects = {f"tools[{names.index(name)}].function.parameters": schema for name, schema in arguments.items()}
        if answer is not None:
            suspects["response_format.json_schema.schema"] = answer
        for param, schema in suspects.items():
            try:
                self._grammars.constraint(grammar.of_schema(schema))
            except GrammarError as fault:
                return StreamError(f"{param}: {fault}", code="invalid_schema", param=param)
        return StreamError(f"the tools' schemas are too large together: {error}", code="invalid_schema", param="tools")
