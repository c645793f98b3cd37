"""`millstream models ...`: list, fetch and verify the checkpoints of the catalogue."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from models.catalog import CatalogError, Checkpoint, State, ensure, load_catalog, verify
from workers.settings import CommonSettings

models_app = typer.Typer(no_args_is_help=True, help="List, fetch and verify model checkpoints.")

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Checkpoints; all when none is named.")]


@models_app.command("list")
def list_checkpoints() -> None:
    """Show every checkpoint, its source, its size on disk and its licence."""
    settings = CommonSettings()
    table = Table("name", "source", "size on disk", "licence", "description")
    for name, checkpoint in load_catalog(settings.catalog).items():
        size = _size_on_disk(checkpoint, checkpoint.directory(name, settings.cache_dir))
        table.add_row(name, checkpoint.source, size, checkpoint.licence, checkpoint.description)
    Console().print(table)


@models_app.command("pull")
def pull(names: Names = None) -> None:
    """Fetch checkpoints into the cache and verify their sha256."""
    settings = CommonSettings()
    failed = False
    for name in names or load_catalog(settings.catalog):
        try:
            typer.echo(f"{name}: {ensure(name, settings.cache_dir, settings.catalog)}")
        except CatalogError as error:
            typer.echo(f"{name}: {error}", err=True)
            failed = True
    raise typer.Exit(failed)


@models_app.command("verify")
def verify_checkpoints(names: Names = None) -> None:
    """Check the sha256 of files on disk; exit code 1 if any is missing or corrupt."""
    settings = CommonSettings()
    failed = False
    for name in names or load_catalog(settings.catalog):
        try:
            reports = verify(name, settings.cache_dir, settings.catalog)
        except CatalogError as error:
            typer.echo(f"{name}: {error}", err=True)
            failed = True
            continue
        for report in reports:
            typer.echo(f"{name}: {report}")
            failed |= report.state is not State.OK
    raise typer.Exit(failed)


def _size_on_disk(checkpoint: Checkpoint, directory: Path) -> str:
    paths = [directory / file for file in checkpoint.files]
    if not all(path.is_file() for path in paths):
        return "not fetched"
    return decimal(sum(path.stat().st_size for path in paths))
