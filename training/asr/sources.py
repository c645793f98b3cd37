"""English prose that Debian's packages carry, sentence by sentence. A source whose package is missing has none.

apt-get install --no-install-recommends wordnet-base dict-gcide dict-foldoc dict-jargon bible-kjv bible-kjv-text \
    fortunes fortunes-min fortune-anarchism anarchism dasher-data gnome-user-docs debian-handbook python3-doc \
    $(apt-cache --names-only search ^wesnoth-1.16- | cut -d' ' -f1 | grep -v -e music -e server -e tools)
"""

import gzip
import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_SHARE = Path("/usr/share")
_CAMPAIGNS = _SHARE / "games/wesnoth"
_FORTUNES = _SHARE / "games/fortunes"
_VERSES = "gen1:1-rev22:21"

_MANUALS = {
    "help/C/gnome-help/*.page": r"<p>(.*?)</p>",
    "doc/debian-handbook/html/en-US/*.html": r'<div class="para">(.*?)</div>',
    "doc/python3.*/html/[tfhw]*/*.html": r"<p>(.*?)</p>",
}
"""Files below /usr/share, each with what is a paragraph of them."""

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')”’]*\s+(?=[\"'(“‘]?[A-Z])")
_NO_END = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sir|Gen|Col|Capt|e\.g|i\.e|cf|vol|[A-Z])\.$")
_ATTRIBUTION = re.compile(r"\s--\s?[A-Z\[(].*$", re.DOTALL)
_BRACKETS = re.compile(r"\[[^\]]*\]|\{[^}]*\}|<[^>]*>|\([^)]*\)")


def sentences(text: str) -> Iterator[str]:
    """The sentences of a paragraph, white space folded. A full stop after a title or an initial ends none."""
    folded = " ".join(text.split())
    start = 0
    for end in _SENTENCE_END.finditer(folded):
        if not _NO_END.search(folded, 0, end.start()):
            yield folded[start : end.end()].strip()
            start = end.end()
    yield folded[start:]


def wordnet_examples() -> Iterator[str]:
    """What illustrates a meaning."""
    for gloss in _glosses():
        yield from re.findall(r'"([^"]+)"', gloss)


def wordnet_glosses() -> Iterator[str]:
    """What defines a meaning."""
    for gloss in _glosses():
        definition = _BRACKETS.sub("", gloss.partition('"')[0])
        yield from (part.strip() for part in definition.split(";"))


def gcide_definitions() -> Iterator[str]:
    """The Collaborative International Dictionary's definitions."""
    for paragraph in _paragraphs(_SHARE / "dictd/gcide.dict.dz"):
        if not _ATTRIBUTION.search(paragraph) and "\\" not in paragraph:
            cleaned = re.sub(r"^\s*\d+\.\s", "", _BRACKETS.sub(" ", paragraph.replace("[ae]", "ae")))
            yield from (part for line in sentences(cleaned) for part in line.split("; as, ") if "{" not in part)


def gcide_quotations() -> Iterator[str]:
    """What it quotes, without the author."""
    for paragraph in _paragraphs(_SHARE / "dictd/gcide.dict.dz"):
        quotation = _ATTRIBUTION.sub("", paragraph)
        if quotation != paragraph and "\\" not in quotation:
            yield from sentences(_BRACKETS.sub(" ", quotation.replace("[ae]", "ae")))


def foldoc() -> Iterator[str]:
    """The Free On-line Dictionary of Computing."""
    yield from _dictionary("foldoc")


def jargon() -> Iterator[str]:
    """The Jargon File."""
    yield from _dictionary("jargon")


def bible() -> Iterator[str]:
    """The King James Version, clause by clause."""
    if shutil.which("bible"):
        verses = subprocess.run(["bible", "-f", _VERSES], capture_output=True, text=True, check=True).stdout
        for verse in verses.splitlines():
            yield from re.split(r"(?<=[.:;?!])\s", verse.partition(" ")[2])


def fortunes() -> Iterator[str]:
    """Quotations and jokes."""
    for file in sorted(_FORTUNES.glob("*")) if _FORTUNES.is_dir() else []:
        if not file.suffix and file.is_file() and "art" not in file.name:
            for fortune in re.split(r"^%+$", file.read_text("utf-8", "replace"), flags=re.MULTILINE):
                for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:Q|A|[A-Z]\w+):)", _ATTRIBUTION.sub("", fortune)):
                    yield from sentences(re.sub(r"^\s*[A-Z]\w*:\s", "", paragraph))


def anarchism() -> Iterator[str]:
    """The Anarchist FAQ: today's argumentative prose."""
    for file in sorted((_SHARE / "doc/anarchism/markdown").glob("*.md*")):
        if "links" in file.name:
            continue
        text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text()
        for paragraph in re.split(r"\n\s*\n", re.sub(r"\]\([^)]*\)|[_*\[\]]", "", text)):
            yield from sentences(_BRACKETS.sub(" ", paragraph))


def dasher() -> Iterator[str]:
    """What Dasher learns English from: letters, reports and stories."""
    file = _SHARE / "dasher/training_english_GB.txt"
    if file.is_file():
        for line in file.read_text("utf-8", "replace").splitlines():
            yield from sentences(line)


def wesnoth() -> Iterator[str]:
    """What people say to each other in the Battle for Wesnoth's stories."""
    for file in sorted(_CAMPAIGNS.rglob("*.cfg")) if _CAMPAIGNS.is_dir() else []:
        text = file.read_text("utf-8", "replace")
        for line in re.findall(r"\b(?:message|story|description)\s*=\s*_\s*\"([^\"]{4,2000})\"", text):
            yield from sentences(re.sub(r"<[^>]*>|\$\S+", " ", line).replace("\n", " "))


def manuals() -> Iterator[str]:
    """GNOME's help, the Debian handbook and Python's tutorials: instructions and explanations of today."""
    for pattern, paragraph in _MANUALS.items():
        for file in sorted(_SHARE.glob(pattern)):
            for text in re.findall(paragraph, file.read_text("utf-8", "replace"), re.DOTALL):
                yield from sentences(html.unescape(re.sub(r"<[^>]*>", "", text)))


def _glosses() -> Iterator[str]:
    for part in ("noun", "verb", "adj", "adv"):
        file = _SHARE / "wordnet" / f"data.{part}"
        if file.is_file():
            yield from (line.partition(" | ")[2] for line in file.read_text().splitlines())


def _dictionary(name: str) -> Iterator[str]:
    for paragraph in _paragraphs(_SHARE / f"dictd/{name}.dict.dz"):
        unlinked = re.sub(r"[{}]", "", re.sub(r"^\s*\d+\.\s|<[^>]*>|\[[^\]]*\]|\([^)]*\)", " ", paragraph))
        yield from sentences(unlinked)


def _paragraphs(file: Path) -> Iterator[str]:
    if file.is_file():
        yield from re.split(r"\n\s*\n|\n(?=\s+\d+\.\s)", gzip.decompress(file.read_bytes()).decode("utf-8", "replace"))
