"""What the rows of a Parquet file say of their clips; the clips themselves are not read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .parquet_layout import AudioColumn, arrow_errors, pyarrow_parquet

_BATCH_ROWS = 4096


def clip_names(file: str | os.PathLike, column: AudioColumn) -> list[str | None]:
    """What the file calls the clips of a column; None where it does not.

    Raises:
        ParquetError: the file cannot be read.
    """
    if column.path_leaf is None:
        return [None] * column.num_rows
    return [name_in(row[column.name]) for row in read_rows(file, [column.path_leaf])]


def name_in(value: Any) -> str | None:
    """The name in what a row has of a clip without its bytes."""
    name = value.get("path") if isinstance(value, Mapping) else None
    return name.strip("/") or None if isinstance(name, str) else None


def read_rows(file: str | os.PathLike, leaves: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows as Python values by column.

    Args:
        leaves: columns, or `column.field` for a part of them.

    Raises:
        ParquetError: the file cannot be read.
    """
    with arrow_errors("its rows cannot be read"), pyarrow_parquet().ParquetFile(os.fspath(file)) as parquet:
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=list(leaves), use_threads=False):
            columns = [column.to_pylist() for column in batch.columns]
            for values in zip(*columns, strict=True):
                yield dict(zip(batch.schema.names, values, strict=True))
