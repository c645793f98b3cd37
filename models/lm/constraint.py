"""Constrained decoding with llguidance: which tokens may come next."""

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from torch import Tensor

from models.lm.tokens import Tokenizer

CACHED_GRAMMARS = 64
MAX_GRAMMAR_CHARACTERS = 128 * 1024
LIMITS = LLParserLimits(max_grammar_size=50_000, verbose_errors=False)
"""These keep the compilation of the worst grammar to tens of milliseconds, since other streams wait for it."""


class GrammarError(Exception):
    """The grammar does not compile; the message is the library's."""


class Constraint:
    """The progress of one reply through its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def take(self, token: int) -> bool:
        """Move on by a token; returns whether the reply is complete and nothing may follow."""
        self._matcher.consume_token(token)
        return self._matcher.is_stopped()

    @property
    def error(self) -> str | None:
        """Why the library gave up on this reply: its limits were met."""
        return self._matcher.get_error() or None

    def fill(self, bits: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
        """Set the bits of the tokens that may come next."""
        self._matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)


class Grammars:
    """Compiles grammars for one vocabulary and keeps the latest of them, as most requests repeat an earlier one's."""

    def __init__(self, tokenizer: Tokenizer, vocab: int) -> None:
        self._tokenizer = LLTokenizer(tokenizer.serialised(), n_vocab=vocab, eos_token=sorted(tokenizer.stop_tokens))
        self._vocab = vocab
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()

    def constraint(self, grammar: str) -> Constraint:
        """A constraint at the beginning of `grammar`. Raises GrammarError."""
        matcher = self._compiled.pop(grammar, None) or self._compile(grammar)
        self._compiled[grammar] = matcher
        if len(self._compiled) > CACHED_GRAMMARS:
            self._compiled.popitem(last=False)
        return Constraint(matcher.deep_copy())

    def allowed(self, constraints: Mapping[int, Constraint], rows: int) -> Tensor:
        """Bool `[rows, vocab]`: the tokens that each constrained row may choose from; others may choose any."""
        bits = np.full((rows, -(-self._vocab // 32)), -1, np.int32)
        for row, constraint in constraints.items():
            constraint.fill(bits[row])
        unpacked = np.unpackbits(bits.view(np.uint8), axis=1, count=self._vocab, bitorder="little")
        return torch.from_numpy(unpacked).view(torch.bool)

    def _compile(self, grammar: str) -> LLMatcher:
        if len(grammar) > MAX_GRAMMAR_CHARACTERS:
            limit = f"at most {MAX_GRAMMAR_CHARACTERS} are allowed"
            raise GrammarError(f"it makes a grammar of {len(grammar)} characters, {limit}")
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=LIMITS)
        if matcher.is_error():
            raise GrammarError(_reason(matcher.get_error()))
        return matcher


def _reason(error: str) -> str:
    """The library's error without the place in our grammar."""
    return error.partition("failed to compile JSON schema: ")[2].partition("\n   1 |")[0].strip() or error
