"""Languages that can be asked for."""

_CODES = """
    af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu
    hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt
    ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh
"""
LANGUAGES = frozenset(_CODES.split())
"""Codes (ISO 639-1, or 639-3 where there is none) that Whisper knows; a test holds them against its tokenizer."""


def unknown_language(code: str) -> str:
    """What to tell a client that asked for a language that nobody here knows."""
    return f"{code!r} is not the code of a known language; give an ISO 639-1 code such as 'en'"
