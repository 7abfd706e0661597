"""Tables as CSV: same table, same bytes; nothing half-written; no cell that fires in a spreadsheet.

Spreadsheets run a cell that begins with `=`, `+`, `-` or `@` as a formula, and a file name is enough to
smuggle one in. Two rules take the fuse out, and `read` undoes both, so a table comes back as it was:

- a path is written `./=name.png`: the same file to every program, so `labels.csv` still joins with the
images;
- any other text is written `'=text`, the apostrophe by which spreadsheets themselves mark text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate.errors import InputError
from autoannotate.runs.delimited import read_delimited
from autoannotate.runs.label_columns import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

FUSES = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a formula begins with; some spreadsheets take the full-width forms too."""
DECIMALS = 6
ROWS = 20_000  # that are turned into text at once
PROPOSALS_FILE, PROPOSALS = "proposals.csv", ("path", "group", "label", "proposed")  # see `runs.proposals`
NUMBERS: dict[str, type] = {
    **{column.name: column.kind for column in COLUMNS if column.kind is not str},
    "score": float,
    "probability": float,
    "clip_probability": float,
    "value": int,
    "given_value": int,
    "trusted_value": int,
    "rank": int,
    "proposal": int,
    "box": int,
    "overlap": float,
    **dict.fromkeys(("x_min", "y_min", "x_max", "y_max", "new_x_min", "new_y_min", "new_x_max", "new_y_max"), float),
}
"""The columns that are numbers; every other column is text."""


def could_fire(text: str) -> bool:
    """Whether a spreadsheet could take the text for a formula.

    >>> could_fire("=1+1"), could_fire(" @SUM(A1)"), could_fire("chest-01.png")
    (True, True, False)
    """
    return text.startswith(FUSES) or text.lstrip().startswith(FUSES)


def defused(text: str, column: str = "") -> str:
    """The text as it is safe to write into the named column.

    >>> defused("=1+1.png", "path"), defused("-ve", "label"), defused("chest", "label")
    ('./=1+1.png', "'-ve", 'chest')
    """
    if column == "path":
        return f"./{text}" if could_fire(text) or text.startswith("./") else text
    return f"'{text}" if could_fire(text) or text.startswith("'") else text


def fused(text: str, column: str = "") -> str:
    """The text as it was before `defused`.

    >>> fused("./=1+1.png", "path"), fused("'-ve", "label"), fused("chest", "label")
    ('=1+1.png', '-ve', 'chest')
    """
    if column == "path":
        return text.removeprefix("./")
    return text.removeprefix("'")


def to_csv(table: pd.DataFrame) -> bytes:
    """The table as CSV: UTF-8, LF line ends, six decimals, dangerous cells defused."""
    return b"".join(csv_parts(table))


def csv_parts(table: pd.DataFrame) -> Iterator[bytes]:
    """What `to_csv` gives, `ROWS` rows at a time: a large table is written without being held as text."""
    columns = [str(name) for name in table.columns]
    yield _encoded([",".join(_cell(name, "") for name in columns)])
    for start in range(0, len(table), ROWS):
        part = table.iloc[start : start + ROWS]
        cells = [[_cell(value, name) for value in part.iloc[:, place].tolist()] for place, name in enumerate(columns)]
        yield _encoded([",".join(row) for row in zip(*cells, strict=True)])


def records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """A dictionary a row, made `ROWS` rows at a time."""
    for start in range(0, len(table), ROWS):
        yield from table.iloc[start : start + ROWS].to_dict(orient="records")  # type: ignore[misc]


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether both are the same as CSV."""
    return len(one) == len(other) and all(a == b for a, b in zip(csv_parts(one), csv_parts(other), strict=True))


def _encoded(lines: list[str]) -> bytes:
    # File names on Linux need not be UTF-8: Python carries such bytes as surrogates; they go back unchanged.
    return "".join(f"{line}\n" for line in lines).encode("utf-8", errors="surrogateescape")


def _cell(value: object, column: str) -> str:
    if isinstance(value, float):
        return f"{value:.{DECIMALS}f}"
    text = defused(value, column) if isinstance(value, str) else str(value)
    # By hand, because the csv module of Python before 3.13 leaves a lone carriage return unquoted.
    return '"{}"'.format(text.replace('"', '""')) if set(text) & set(',"\r\n') else text


def read(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """The table that `to_csv` wrote, with these columns first and any others after them; also after a spreadsheet saved it, see
    `delimited`.

    Raises
    ------
    InputError
        Where the file is missing, lacks a column or holds text in a column of numbers.
    """
    import pandas as pd

    if not file.exists():
        raise InputError(f"There is no {file.name} in {file.parent}: is this the folder of a run?")
    table = read_delimited(file, ours=True)
    places = {name: table.column([name]) for name in columns}
    if missing := [name for name in columns if places[name] is None]:
        raise InputError(f"{file} lacks the column {missing[0]}: it needs {', '.join(columns)}.")
    extra = {name: i for i, name in enumerate(table.header) if name and i not in places.values()}
    columns, places = (*columns, *extra), {**places, **extra}  # what other versions write stays
    data: dict[str, list] = {name: [] for name in columns}
    numeric = bool(NUMBERS.keys() & set(columns))
    for number, row in table.rows:
        if numeric and not any(row):  # spreadsheets leave such lines
            continue
        if len(row) < len(table.header) or any(row[len(table.header) :]):
            raise InputError(f"{file}, row {number}: {len(row)} cells where the heading has {len(table.header)}.")
        for name in columns:
            text = row[places[name]]  # type: ignore[index]
            try:
                data[name].append(_number(text, NUMBERS[name]) if name in NUMBERS else fused(text, name))
            except ValueError:
                raise InputError(f"{file}, row {number}: {name} is {text!r}, not a number.") from None
    return pd.DataFrame({name: pd.Series(data[name], dtype=dtype(name)) for name in columns})


def _number(text: str, kind: type) -> Any:
    """A number as `to_csv` wrote it, or as a spreadsheet of a country with decimal commas saved it."""
    value = float(text.strip().replace(",", "."))
    if kind is int and value != int(value):
        raise ValueError(text)
    return kind(value)


def read_probabilities(file: Path) -> pd.DataFrame | None:
    """The probabilities that `to_csv` wrote: `path` and a column a class; None where the run has none.

    Raises
    ------
    InputError
        Where a cell is no number.
    """
    import pandas as pd

    if not file.exists():
        return None
    table = read_delimited(file, ours=True)
    names = [fused(name) for name in table.header[1:]]
    rows = [row for _, row in table.rows if any(row)]  # spreadsheets leave blank ones
    try:
        values = [[_number(cell, float) for cell in row[1 : len(names) + 1]] for row in rows]
    except ValueError as error:
        raise InputError(f"{file} holds a cell that is not a number ({error}).") from None
    made = pd.DataFrame(values, columns=names, dtype="float64")
    made.insert(0, "path", pd.Series([fused(row[0], "path") for row in rows], dtype="object"))
    return made


def dtype(column: str) -> str:
    """The pandas type of a column."""
    return {float: "float64", int: "int64"}.get(NUMBERS.get(column, str), "object")
