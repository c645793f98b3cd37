"""The voices that can be asked for, by their own names or OpenAI's. Loads no network: gateways import it too."""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

DEFAULT_VOICE = "af_heart"

_FILE = Path(__file__).with_name("voices.toml")


class UnknownVoice(LookupError):
    """No voice has that name; the message lists those that exist."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown voice {name!r}; choose one of {', '.join(choices())}")
        self.name = name


class Voice(msgspec.Struct, frozen=True):
    """A voice of the checkpoint `kokoro-voices`."""

    name: str
    language: Literal["en-US", "en-GB"]
    gender: Literal["female", "male"]
    description: str
    aliases: tuple[str, ...]
    """OpenAI's names for it."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    language: Literal["en-US", "en-GB"]
    gender: Literal["female", "male"]
    description: str


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    voices: dict[str, _Entry]
    aliases: dict[str, str]


@cache
def voices() -> dict[str, Voice]:
    """Every voice by its own name."""
    document = msgspec.toml.decode(_FILE.read_bytes(), type=_Document)
    return {
        name: Voice(
            name,
            entry.language,
            entry.gender,
            entry.description,
            tuple(alias for alias, target in document.aliases.items() if target == name),
        )
        for name, entry in document.voices.items()
    }


def choices() -> list[str]:
    """All names that `resolve` knows."""
    return [*voices(), *sorted(alias for voice in voices().values() for alias in voice.aliases)]


def resolve(name: str) -> Voice:
    """The voice of that name or alias. Raises UnknownVoice."""
    for voice in voices().values():
        if name == voice.name or name in voice.aliases:
            return voice
    raise UnknownVoice(name)
