"""`millstream voices`: whom the server can sound like."""

from rich.console import Console
from rich.table import Table

from models.tts.voices import DEFAULT_VOICE, voices


def show(console: Console) -> None:
    """Print a table of every voice."""
    table = Table("voice", "language", "gender", "OpenAI's names", "description")
    for voice in voices().values():
        name = f"{voice.name} (default)" if voice.name == DEFAULT_VOICE else voice.name
        table.add_row(name, voice.language, voice.gender, ", ".join(voice.aliases), voice.description)
    console.print(table)
