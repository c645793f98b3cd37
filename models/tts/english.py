"""The word lists of `english.toml`."""

from pathlib import Path

import msgspec


class English(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lists are words with spaces between; tables map what is written to what is said."""

    stops: str
    links: str
    before_participle: str
    before_verb: str
    before_noun: str
    abbreviations: dict[str, str]
    units: dict[str, str]
    symbols: dict[str, str]
    roman: dict[str, str]


ENGLISH = msgspec.toml.decode(Path(__file__).with_name("english.toml").read_bytes(), type=English)
