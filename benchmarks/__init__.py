"""Measurements. Each module prints one JSON object a line; `--quick` ends within 50 s."""
