"""`millstream ...`"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError
from rich.console import Console
from rich.text import Text

from app.models_cli import models_app
from app.settings import Settings
from workers.settings import WorkerSettings

cli = typer.Typer(help="One server for live AI.", no_args_is_help=True, pretty_exceptions_enable=False)
cli.add_typer(models_app, name="models")
console = Console(stderr=True)

Loaded = TypeVar("Loaded", bound=BaseSettings)

Host = Annotated[str | None, typer.Option(help="Address to bind; a public one needs an API key.")]
Port = Annotated[int | None, typer.Option(help="Port to bind.")]
Certificate = Annotated[Path | None, typer.Option(help="PEM certificate: serve HTTPS and WSS.")]
Key = Annotated[Path | None, typer.Option(help="PEM private key of the certificate.")]
AudioFile = Annotated[Path | None, typer.Argument(help="Audio or video file.", exists=True, dir_okay=False)]
Url = Annotated[str, typer.Option(envvar="MILLSTREAM_URL", help="Server.")]
ApiKey = Annotated[str | None, typer.Option(envvar="MILLSTREAM_API_KEY", help="API key.")]
Voice = Annotated[str | None, typer.Option(help="Voice; see 'millstream voices'.")]
Language = Annotated[str | None, typer.Option(help="ISO-639-1 code of what you speak; detected if not given.")]
Lookahead = Annotated[
    str | None, typer.Option(help="How far ahead of its words the recogniser looks: 0ms, 80ms, 480ms or 1040ms.")
]
Phrases = Annotated[
    list[str] | None, typer.Option("--phrase", help="A name or phrase that is likely to be said; may be repeated.")
]
DEFAULT_URL = "http://127.0.0.1:8000"


def load_settings(**options: Any) -> Settings:
    """Settings with the given options over them. Raises typer.Exit with a message that names the setting."""
    given = {name: value for name, value in options.items() if value is not None}
    return _checked(lambda: Settings(**given))


def _checked(load: Callable[[], Loaded]) -> Loaded:
    try:
        return load()
    except ValidationError as error:
        for problem in error.errors():
            field = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            _complain(f"{field}: {message}" if field else message)
    except (SettingsError, TOMLDecodeError) as error:
        _complain(f"{error}: {error.__cause__}" if error.__cause__ else f"millstream.toml: {error}")
    raise typer.Exit(2)


def _complain(message: str) -> None:
    console.print(Text(message, "red"), soft_wrap=True)


@cli.command()
def serve(host: Host = None, port: Port = None, tls_certificate: Certificate = None, tls_key: Key = None) -> None:
    """Start everything on this machine: gateway, workers and, unless MILLSTREAM_REDIS_URL is set, Valkey."""
    from app.local import serve_locally

    settings = load_settings(host=host, port=port, tls_certificate=tls_certificate, tls_key=tls_key)
    _checked(WorkerSettings)  # else each worker would find the same mistake
    raise typer.Exit(asyncio.run(serve_locally(settings, console)))


@cli.command()
def gateway(host: Host = None, port: Port = None, tls_certificate: Certificate = None, tls_key: Key = None) -> None:
    """Start one gateway."""
    from app import serve as gateway_process

    gateway_process.main(load_settings(host=host, port=port, tls_certificate=tls_certificate, tls_key=tls_key))


@cli.command()
def worker(name: Annotated[str, typer.Argument(help="Service, for instance 'listen'.")]) -> None:
    """Start one worker. (The same as `python -m workers NAME`.)"""
    _checked(WorkerSettings)
    os.execv(sys.executable, [sys.executable, "-m", "workers", name])


@cli.command()
def transcribe(
    file: AudioFile = None,
    mic: Annotated[bool, typer.Option("--mic", help="Listen to the microphone.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    language: Language = None,
    lookahead: Lookahead = None,
    phrases: Phrases = None,
    fast: Annotated[bool, typer.Option("--fast", help="Send a file as fast as the server takes it.")] = False,
) -> None:
    """Print words while they are spoken: a file at real-time pace, or the microphone."""
    from app.transcribe_cli import run

    _check_url(url)
    _check_source(file, mic)
    options = {
        "api_key": api_key,
        "language": language,
        "phrases": phrases or (),
        "lookahead_ms": _lookahead(lookahead),
    }
    raise typer.Exit(asyncio.run(run(file, url, paced=not fast, **options)))


@cli.command()
def talk(
    file: AudioFile = None,
    mic: Annotated[bool, typer.Option("--mic", help="Talk through the microphone.")] = False,
    push_to_talk: Annotated[bool, typer.Option("--push-to-talk", help="With --mic: Enter begins and ends.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the reply to a WAV file instead of playing it.")
    ] = None,
    voice: Voice = None,
    instructions: Annotated[str | None, typer.Option(help="What the assistant is told to be.")] = None,
    language: Language = None,
    lookahead: Lookahead = None,
    phrases: Phrases = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Talk with the server: it hears a file at real-time pace, or the microphone, and answers."""
    from app.talk_cli import Call, run

    _check_url(url)
    _check_source(file, mic)
    if mic and output is not None:
        _refuse("-o goes with a file; what is said to --mic is answered aloud")
    if push_to_talk and not mic:
        _refuse("--push-to-talk goes with --mic")
    options = {
        "api_key": api_key,
        "voice": voice,
        "instructions": instructions,
        "language": language,
        "lookahead_ms": _lookahead(lookahead),
        "phrases": phrases or (),
    }
    call = Call(file, url, options, push_to_talk)
    try:
        raise typer.Exit(asyncio.run(run(call, output)))
    except KeyboardInterrupt:
        raise typer.Exit(0 if mic else 130) from None


@cli.command()
def say(
    text: Annotated[str, typer.Argument(help="What to say; '-' for the standard input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a file instead of playing the speech.")
    ] = None,
    voice: Voice = None,
    speed: Annotated[float, typer.Option(min=0.25, max=4.0, help="Speed of the speech.")] = 1.0,
    kind: Annotated[str | None, typer.Option("--format", help="Format of the file, if its name does not tell.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Speak a text: play it, or write it to a file."""
    from app.say_cli import FORMATS, run

    _check_url(url)
    wanted = FORMATS.get((kind or (output.suffix[1:] if output else "wav")).lower())
    if wanted is None:
        _refuse(f"--format: {kind or (output and output.name)!r} is none of {', '.join(FORMATS)}")
    request = {"input": sys.stdin.read() if text == "-" else text, "speed": speed}
    if voice is not None:
        request["voice"] = voice
    raise typer.Exit(asyncio.run(run(request, url, api_key, output, wanted)))


@cli.command()
def restyle(
    source: Annotated[Path, typer.Argument(help="Video file.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(help="Video file to write.")],
    prompt: Annotated[str, typer.Option(help="What it shall look like.")],
    negative_prompt: Annotated[str, typer.Option(help="What it shall not look like.")] = "",
    stage: Annotated[
        list[int] | None, typer.Option(help="Timestep, 0 (all is painted anew) to 49; may be repeated, rising.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the noise.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Restyle a video file; its sound is kept."""
    from app.restyle_cli import Job, run

    _check_url(url)
    chosen = {"t_indices": stage, "seed": seed}
    denoising = {name: value for name, value in chosen.items() if value not in (None, [])}
    job = Job(source, target, prompt, {"negative_prompt": negative_prompt, "denoising": denoising})
    raise typer.Exit(asyncio.run(run(job, url, api_key)))


@cli.command()
def voices() -> None:
    """List the voices."""
    from app.voices_cli import show

    show(Console())


def _refuse(message: str) -> NoReturn:
    _complain(message)
    raise typer.Exit(2)


def _lookahead(given: str | None) -> int | None:
    """Milliseconds of `80ms` or `80`."""
    if given is None:
        return None
    from millstream.hearing import DELAYS

    named = {str(lookahead_ms): lookahead_ms for lookahead_ms in DELAYS}
    plain = given.lower().removesuffix("ms").strip()
    if plain not in named:
        _refuse(f"--lookahead: {given!r} is none of {', '.join(f'{name}ms' for name in named)}")
    return named[plain]


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        _refuse(f"--url: {url!r} does not begin with http:// or https://")


def _check_source(file: Path | None, mic: bool) -> None:
    if (file is None) == (not mic):
        _refuse("give either a file or --mic")
