"""Written English to what is said, piece by piece, each with its place in the original text."""

import calendar
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from models.tts import numerals
from models.tts.english import ENGLISH

MAX_WORD_CHARS = 40
MONTHS = [*calendar.month_name][1:]
PAUSES = {"–": "—", "\n": ",", "...": "…"}
_ADDRESS = {".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon"}

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_UNITS = "|".join(re.escape(unit) for unit in sorted(ENGLISH.units, key=len, reverse=True))
_SHORT = "|".join(re.escape(word) for word in sorted(ENGLISH.abbreviations, key=len, reverse=True))

_MONTHS = {name[:3]: name for name in MONTHS} | {"Sept": "September"}


class Piece(NamedTuple):
    """`text[start:end]` is said as `spoken`: words, or one mark of punctuation."""

    start: int
    end: int
    spoken: str


def _address(match: re.Match[str]) -> str:
    """A URL or an e-mail address: "https://" is left out, marks are named."""
    address = re.sub(r"^https?://", "", match[0]).replace("www.", "w w w.")
    return " ".join(_ADDRESS.get(part, part) for part in re.findall(r"[^\W\d_]+|\d{1,4}|[./@_:-]", address))


def _date(match: re.Match[str]) -> str:
    month = MONTHS[int(match["iso_month"]) - 1]
    return f"{month} {numerals.ordinal(match['day'])} {numerals.year(match['iso_year'])}"


def _time(match: re.Match[str]) -> str:
    half = f"{match['half'].strip()[0]}m" if match["half"] else ""
    return numerals.clock(match["hour"], match["minute"], half)


def _hour(match: re.Match[str]) -> str:
    return f"{numerals.cardinal(match['oclock'])} {match['ampm'][0].upper()} M"


def _money(match: re.Match[str]) -> str:
    return numerals.money(match["currency"], match["amount"], match["scale"] or "")


def _measure(match: re.Match[str]) -> str:
    unit = ENGLISH.units[match["unit"]]
    return f"{numerals.cardinal(match['measure'])} {unit if match['measure'] == '1' else numerals.plural(unit)}"


def _number(match: re.Match[str]) -> str:
    number = match[0]
    return numerals.year(number) if numerals.is_year(number) else numerals.cardinal(number)


def _fraction(match: re.Match[str]) -> str:
    return numerals.FRACTIONS.get(match[0]) or " slash ".join(map(numerals.cardinal, match[0].split("/")))


def _range(match: re.Match[str]) -> str:
    return " to ".join(
        numerals.year(end) if numerals.is_year(end) else numerals.cardinal(end) for end in re.split("[-–]", match[0])
    )


def _word(match: re.Match[str]) -> str:
    return ENGLISH.roman.get(match[0], match[0].replace("’", "'"))


def _silent(match: re.Match[str]) -> str:
    return ""


_RULES: list[tuple[str, str, Callable[[re.Match[str]], str]]] = [
    ("link", r"\]\([^)\s]*\)", _silent),
    ("fence", r"```\w*", _silent),
    ("email", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
    (
        "url",
        r"(?:https?://|www\.)[^\s)\]>]*[\w/]|\b(?:[\w-]+\.)+(?:com|org|net|io|ai|dev|edu|gov|uk|app)\b(?:/[\w/.-]*\w)?",
        _address,
    ),
    ("date", r"(?P<iso_year>[12]\d{3})-(?P<iso_month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])\b", _date),
    ("time", r"\b(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)\b(?P<half> ?[AaPp](?:[Mm]\b|\.[Mm]\.?))?", _time),
    ("clock", r"\b(?P<oclock>1[0-2]|[1-9]) ?(?P<ampm>[AaPp](?:[Mm]\b|\.[Mm]\.?))", _hour),
    (
        "money",
        rf"(?P<currency>[$£€¥]) ?(?P<amount>{_NUMBER})"
        r"(?: ?(?P<scale>thousand|million|billion|trillion|[kKmMbBtT]n?)\b)?",
        _money,
    ),
    (
        "ordinal",
        r"(?P<ordered>\d{1,15}|\d{1,3}(?:,\d{3}){1,4})(?:st|nd|rd|th)\b",
        lambda m: numerals.ordinal(m["ordered"]),
    ),
    ("decade", r"\b(?P<tens>[12]\d\d0|[2-9]0)['’]?s\b", lambda m: numerals.decade(m["tens"])),
    ("measure", rf"(?<![\w.])(?P<measure>[-−]?{_NUMBER})[ -]?(?P<unit>{_UNITS})(?!\w)", _measure),
    ("phone", r"(?:\+?\d{1,2}[ -])?(?:\(\d{3}\) ?|\d{3}-)?\d{3}-\d{4}\b", lambda m: numerals.digits(m[0])),
    ("version", r"\d{1,4}(?:\.\d{1,4}){2,}", lambda m: " point ".join(map(numerals.cardinal, m[0].split(".")))),
    ("fraction", r"\b\d{1,3}/\d{1,3}\b", _fraction),
    ("range", r"\b\d{1,4}[-–]\d{1,4}\b", _range),
    ("numbered", r"(?:#|\b[Nn]o\. ?)(?P<numbered>\d{1,15})", lambda m: f"number {numerals.cardinal(m['numbered'])}"),
    ("number", rf"(?:(?<![\w.)])[-−])?{_NUMBER.replace('+', '{1,40}', 1)}", _number),
    ("month", rf"\b(?:{'|'.join(_MONTHS)})\.(?= ?\d)", lambda m: _MONTHS[m[0][:-1]]),
    ("short", rf"\b(?i:{_SHORT})\.", lambda m: ENGLISH.abbreviations[m[0][:-1].lower()]),
    ("initials", r"\b(?:[^\W\d_]\.){2,20}", lambda m: " ".join(m[0].replace(".", "").upper())),
    ("versus", r"\b(?:vs|etc)\b", lambda m: ENGLISH.abbreviations[m[0]]),
    ("word", rf"[^\W\d_]{{1,{MAX_WORD_CHARS}}}(?:['’][^\W\d_]{{1,{MAX_WORD_CHARS}}})*", _word),
    ("pause", r"\.{3}|[.,!?;:…()—–\n]|(?<=\s)--?(?=\s)|--", lambda m: PAUSES.get(m[0], "—" if "-" in m[0] else m[0])),
    ("times", r"(?<=\d)\s?\*\s?(?=\d)", lambda m: "times"),
    ("symbol", "|".join(map(re.escape, ENGLISH.symbols)), lambda m: ENGLISH.symbols[m[0]]),
]
_SCANNER = re.compile("|".join(f"(?P<_{name}>{pattern})" for name, pattern, _ in _RULES))
_SAY = {f"_{name}": say for name, _, say in _RULES}


def normalise(text: str) -> Iterator[Piece]:
    """The pieces of `text` that are said, in order. Markdown's marks, quotes and emoji are not."""
    for match in _SCANNER.finditer(text):
        assert match.lastgroup is not None
        rule = next(name for name in _SAY if match[name] is not None)
        if spoken := _SAY[rule](match):
            yield Piece(match.start(), match.end(), spoken)
