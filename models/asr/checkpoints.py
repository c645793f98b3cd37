"""Which network the files of a checkpoint are for. Loads none."""

import json
from pathlib import Path


def is_whisper(directory: Path) -> bool:
    """Whether it is a Whisper in CTranslate2's form: only their configuration lists tokens of languages."""
    try:
        return "lang_ids" in json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError, TypeError):
        return False
