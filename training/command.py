"""How the commands beside `training.train` end: what the caller can mend is one line and status 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from training.config import ConfigError
from training.data import DataError
from training.export import ParityError
from training.train import StageError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns an error that names what is wrong into its line on standard error and SystemExit(2)."""
    try:
        yield
    except (ConfigError, DataError, StageError, ParityError) as error:
        print(f"training: {error}", file=sys.stderr)
        raise SystemExit(2) from None
