"""The looks that are taught, and in which words they are asked for."""

from pathlib import Path

import msgspec


class Style(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`number` in the teacher; the picture itself if there is none. `phrases` are what training says."""

    name: str
    phrases: tuple[str, ...]
    number: int | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    styles: tuple[Style, ...]


def read_styles(file: Path) -> tuple[Style, ...]:
    """Raises msgspec.ValidationError, which names the field."""
    return msgspec.toml.decode(file.read_bytes(), type=_File).styles


STYLES = read_styles(Path(__file__).with_name("styles.toml"))
"""Those of the teacher first, the unchanged photograph last."""
