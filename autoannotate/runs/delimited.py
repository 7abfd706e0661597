"""Tables as people and their programs save them: any separator, encoding and line end that spreadsheets write.

One reader for all tables that come from outside (answers, labels, groups) and for a run's own tables, which a spreadsheet may
have saved again. Read are commas, semicolons, tabs and bars; UTF-8, UTF-16 and UTF-32 with or without a byte order mark,
else Windows-1252; a line `sep=;` before the heading, blank lines, and lines that were put in quotes as a whole.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoannotate.errors import InputError

SEPARATORS = ",;\t|"
PATH = ("path", "file_name", "filename", "file", "image", "image_path", "file_path", "image_name", "image_index")
"""What a column of pictures is called, the surest name first."""
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)  # fmt: skip
_SEP_LINE = re.compile(r"\"?sep=(?P<separator>\\t|[^\"\r\n])\"?[,;\t|]*", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Delimited:
    """A table as text.

    Parameters
    ----------
    header : list of str
        The names of the columns, trimmed; see `column`.
    rows : list of (int, list of str)
        Each row that is not blank, with the number that a spreadsheet gives it (1 is the first line of the file). Cells are
        as they were written; a row may have fewer or more than the header.
    separator : str
        Between cells.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]
    separator: str = ","

    def column(self, names: Sequence[str]) -> int | None:
        """Where the first of these columns is that the table has; their case, and spaces for `_`, do not matter.

        Raises `InputError` where the table has that column twice.

        >>> Delimited(["Image Index", "Label"], []).column(["path", "image_index"])
        0
        """
        known = [column_key(name) for name in self.header]
        chosen = next((name for name in map(column_key, names) if name in known), None)
        if chosen is not None and known.count(chosen) > 1:
            raise InputError(f"The table has more than one column {chosen!r}: give each column its own name.")
        return None if chosen is None else known.index(chosen)


def column_key(name: str) -> str:
    """A column's name as it is compared.

    >>> column_key(" Image Index"), column_key("image_index")
    ('image_index', 'image_index')
    """
    return re.sub(r"[\s_]+", "_", name.replace("\ufeff", "").strip().casefold())


def read_delimited(file: Path, ours: bool = False) -> Delimited:
    """The table in a file.

    Parameters
    ----------
    file : Path
        A text file with a heading.
    ours : bool
        Whether this package wrote it: then bytes that are not UTF-8 belong to file names, and come back as surrogates,
        unless a spreadsheet saved it since.

    Raises
    ------
    InputError
        The file is not there, may not be read, or is no table of text.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"There is no file {file}: check its name.") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({(error.strerror or str(error)).lower()}).") from None
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{file} is a workbook, not a table of text: save it as CSV first.")
    try:
        return parse(decode(content, ours), blank_rows=ours)
    except csv.Error as error:
        raise InputError(f"{file} cannot be read as a table ({error}): save it as CSV.") from None


def decode(content: bytes, ours: bool = False, cut: bool = False) -> str:
    """The text, by its byte order mark, else as UTF-8 or UTF-16 where it is that, else as Windows-1252.

    ours: see `read_delimited`. cut: whether the content may end inside a letter, being the beginning of a file.

    >>> decode("grün".encode("cp1252")), decode("path;label".encode("utf-16-le")), decode("\\ufeffpath".encode())
    ('grün', 'path;label', 'path')
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if (head := content[:2000]).count(0) > len(head) / 4:  # text has no NUL, but for UTF-16's other halves
        return content.decode("utf-16-le" if head[1::2].count(0) >= head[0::2].count(0) else "utf-16-be", "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if cut and error.reason == "unexpected end of data":
            return content[: error.start].decode("utf-8")
    if ours and not content.partition(b"\n")[0].endswith(b"\r"):  # spreadsheets end lines with CR LF, we with LF
        return content.decode("utf-8", errors="surrogateescape")
    return content.decode("cp1252", errors="replace")


def parse(text: str, blank_rows: bool = False, cut: bool = False) -> Delimited:
    """The table in a text. Raises `csv.Error` where it is none.

    Parameters
    ----------
    blank_rows : keep rows of blank cells
    cut : whether it may end anywhere, being the beginning of a file
    """
    csv.field_size_limit(2**31 - 1)  # Label Studio's tables may hold the pictures
    skipped, separator = 0, ""
    while text:  # what some programs put before the heading
        end = _LINE_END.search(text)
        line = (text[: end.start()] if end else text).replace("\ufeff", "")
        said = _SEP_LINE.fullmatch(line.strip(" "))
        if not said and line.strip(f' "{SEPARATORS}'):
            break
        separator = said["separator"].replace("\\t", "\t") if said else separator
        text, skipped = text[end.end() :] if end else "", skipped + 1
    separator = separator or _separator(text)
    numbered = [
        (number, row)
        for number, row in enumerate(_cells(text, separator, cut), start=skipped + 1)
        if row and (blank_rows or any(cell.strip() for cell in row))
    ]
    if numbered and all(len(row) == 1 for _, row in numbered) and set(numbered[0][1][0]) & set(SEPARATORS):
        return parse("\n" * skipped + "\n".join(row[0] for _, row in numbered))  # each line in quotes as a whole
    if not numbered:
        return Delimited([], [], separator)
    return Delimited([name.replace("\ufeff", "").strip() for name in numbered[0][1]], numbered[1:], separator)


def _cells(text: str, separator: str, cut: bool) -> list[list[str]]:
    """All rows. A quote that is never closed would swallow the rest of the table, so it is an error; others are letters."""
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error) and not cut:
            raise csv.Error("a quote is never closed") from None
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def _separator(text: str) -> str:
    """What separates the names of the columns: the commonest in the first line, outside quotes."""
    end = _LINE_END.search(text)
    bare = re.sub(r'"[^"]*"', "", text[: end.start()] if end else text)
    return max(SEPARATORS, key=bare.count)
