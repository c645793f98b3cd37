"""Numbers as English words."""

from num2words import num2words

MAX_CARDINAL_DIGITS = 15
"""Longer numbers are read digit by digit."""
SCALES = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
    "t": "trillion",
    "tn": "trillion",
}
CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
FRACTIONS = {
    "1/2": "one half",
    "1/3": "one third",
    "2/3": "two thirds",
    "1/4": "one quarter",
    "3/4": "three quarters",
    "24/7": "twenty four seven",
}
_PLURALS = {"penny": "pence", "yen": "yen", "sen": "sen", "foot": "feet", "inch": "inches"}


def digits(text: str) -> str:
    """Each digit of `text` by itself."""
    return " ".join(_plain(num2words(int(digit))) for digit in text if digit.isdecimal())


def cardinal(text: str) -> str:
    """A number such as "-1,234.50"."""
    sign = "minus " if text.startswith(("-", "−")) else ""
    whole, point, fraction = text.lstrip("-−+").replace(",", "").partition(".")
    return sign + _whole(whole) + (f" point {digits(fraction)}" if point else "")


def ordinal(text: str) -> str:
    """The ordinal of a whole number."""
    return _plain(num2words(int(text.replace(",", "")), to="ordinal"))


def year(text: str) -> str:
    """Four digits read as a year."""
    return _plain(num2words(int(text), to="year"))


def decade(text: str) -> str:
    """ "1990" as nineteen nineties, "80" as eighties."""
    words = year(text) if len(text) == 4 else cardinal(text)
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def is_year(text: str) -> bool:
    """Whether a bare number is more likely a year than a count."""
    return len(text) == 4 and text.isdecimal() and "1100" <= text <= "2099"


def money(symbol: str, amount: str, scale: str) -> str:
    """An amount such as ("$", "3.50", "") or ("£", "2", "bn")."""
    unit, part = CURRENCIES[symbol]
    if scale:
        return f"{cardinal(amount)} {SCALES.get(scale.lower(), scale.lower())} {plural(unit)}"
    whole, _, fraction = amount.replace(",", "").partition(".")
    if len(fraction) != 2:
        return f"{cardinal(amount)} {unit if amount == '1' else plural(unit)}"
    spoken = [(whole, unit)] if int(whole) or not int(fraction) else []
    spoken += [(fraction, part)] if int(fraction) else []
    return " and ".join(f"{_whole(str(int(n)))} {name if int(n) == 1 else plural(name)}" for n, name in spoken)


def clock(hour: str, minute: str, half: str) -> str:
    """A time of day; `half` is "am", "pm" or empty."""
    if minute == "00":
        spoken = f"{cardinal(hour)}" if half else f"{cardinal(hour)} o'clock"
        spoken = spoken if int(hour) <= 12 else f"{cardinal(hour)} hundred"
    else:
        spoken = f"{cardinal(str(int(hour)))} {'oh ' if minute[0] == '0' else ''}{cardinal(str(int(minute)))}"
    return f"{spoken} {' '.join(half.upper())}".strip()


def plural(noun: str) -> str:
    """The plural of a unit's name, of which the first word is counted ("mile per hour")."""
    head, space, rest = noun.partition(" ")
    return _PLURALS.get(head, head if head.endswith("s") or head == "percent" else f"{head}s") + space + rest


def _whole(text: str) -> str:
    if not text:
        return "zero"
    if len(text) > MAX_CARDINAL_DIGITS or (len(text) > 1 and text[0] == "0"):
        return digits(text)
    return _plain(num2words(int(text)))


def _plain(words: str) -> str:
    return words.replace(",", "").replace("-", " ").replace(" and ", " ")
