"""`python -m app`: the same as `millstream`."""

from app.cli import cli

if __name__ == "__main__":
    cli()
