"""What the checks of the exercises share: try an answer, compare it, say what happened.

A check is a function that runs at once and keeps its names to itself::

    @check
    def exercise_1_1(attempt):
        found = attempt.call("double", 21)
        assert same(found, 42), "double(21) gives something else than twice 21"
        print("Right.")

Whatever the answer does, a check ends well or in one AssertionError that says what was
tried and what happened. What is right by the words of the task passes, whatever its type:
`same` and `same_rows` compare values.
"""

import ast
import copy
import io
import linecache
import math
import random
import reprlib
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, redirect_stdout
from datetime import date
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

#: What must not be freed while something that an answer made may still need it.
ALIVE: list[Any] = []
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 80

# -- running a check -------------------------------------------------------------------


def check(body: "Callable[[Attempt], None]") -> None:
    """Run a check at once, on the answers that the notebook holds now (a decorator).

    Raises
    ------
    AssertionError
        The answer is not right, or could not be tried; the message says what happened.
    """
    attempt = Attempt(body.__globals__, body.__code__.co_filename)
    try:
        body(attempt)
    except Exception as error:
        refused = error if isinstance(error, AssertionError) else attempt.told(error)
    else:
        return
    # in a notebook the sentence alone, without the lines of the check
    refused._render_traceback_ = lambda: [f"Not yet: {refused}"]  # type: ignore[attr-defined]
    raise refused from None


class Attempt:
    """The student's answers, as a check sees them.

    Parameters
    ----------
    names
        The variables of the notebook.
    file
        What Python calls the cell of the check; other cells are the student's.
    """

    def __init__(self, names: dict[str, Any], file: str) -> None:
        self.names = names
        self.file = file
        self.tried = ""  # what was tried last, as a student would write it

    def value(self, name: str, what: str) -> Any:
        """An answer that is a variable.

        Parameters
        ----------
        name
            The variable.
        what
            What is asked for, such as ``"a list of names"``.
        """
        answer = self.names.get(name, ...)
        inside = list(answer.values()) if isinstance(answer, dict) else answer
        unfinished = answer is ... or (
            isinstance(inside, list | tuple) and any(one is ... for one in inside)
        )
        assert not unfinished, f"replace each ... by {what}, then run that cell: `{name}` waits"
        self.tried = f"`{name}`"
        return answer

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """What an answer that is a function returns; its arguments must stay as they are."""
        function = self.value(name, "a function")
        assert callable(function), (
            f"`{name}` is not a function now, but {a(function)}: run the cell of your answer again"
        )
        shown = [_shown(one) for one in arguments]
        shown += [f"{option}={_shown(one)}" for option, one in options.items()]
        self.tried = f"{name}({', '.join(shown)})"
        given = [*arguments, *options.values()]
        before = [_copied(one) for one in given]
        try:
            result = function(*arguments, **options)
        except Exception as error:
            raise self.told(error) from None
        for one, was in zip(given, before, strict=True):
            assert _unchanged(one, was), (
                f"{self.tried} changed {_shown(was)} that it was given: work on a copy"
            )
        return result

    def error_of(self, name: str, *arguments: Any) -> Exception | None:
        """What an answer raises where it cannot but fail; None if it does not."""
        function = self.value(name, "a function")
        self.tried = f"{name}({', '.join(map(_shown, arguments))})"
        try:
            function(*arguments)
        except Exception as error:
            return error
        return None

    def again(self, name: str, **altered: Any) -> Any:
        """What the answer would be, had the notebook other data.

        The last cell that makes the variable runs once more, on a copy of the notebook's
        variables in which some are altered. What it prints is not shown.

        Parameters
        ----------
        name
            The variable that is the answer.
        altered
            Other values for variables that the cell reads; they must stay as they are.
        """
        cell = _cell_that_makes(name, self.names)
        assert cell, f"run the cell in which you make `{name}`, then this one"
        self.tried = f"the cell of `{name}`, run again on other data in {' and '.join(altered)}"
        names = {**self.names, **{key: _copied(one) for key, one in altered.items()}}
        given = {key: names[key] for key in altered}
        file = f"<the cell of {name}>"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        try:
            with redirect_stdout(io.StringIO()):
                exec(compile(cell, file, "exec"), names)  # noqa: S102 - it is the student's own
        except Exception as error:
            raise self.told(error, names) from None
        for key, one in given.items():
            assert _unchanged(one, altered[key]), (
                f"your cell changes `{key}` itself, which has to stay as it was: work on a copy "
                f"(and run the cell that makes `{key}` again)"
            )
        return names[name]

    def told(self, error: Exception, names: dict[str, Any] | None = None) -> AssertionError:
        """An error of the student's code, as a sentence with the line that it came from."""
        own = (self.names, names) if names is not None else (self.names,)
        kind = type(error).__name__
        said = f"{kind}: {_short(str(error))}" if str(error) else kind
        for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
            file = frame.f_code.co_filename
            if any(frame.f_globals is globals_ for globals_ in own) and file != self.file:
                line = linecache.getline(file, number).strip()
                where = f"line {number} of its cell" + (f", `{line}`" if line else "")
                return AssertionError(f"{self.tried or 'your answer'} ended in {said}, in {where}")
        return AssertionError(
            f"the check could not go on after {self.tried or 'it began'} ({said}): is the answer "
            "of the form that the task asks for, and did all cells above run?"
        )


def _cell_that_makes(name: str, names: dict[str, Any]) -> str | None:
    """The last cell that ran and assigned the variable; IPython keeps them in `In`."""
    for cell in reversed(names.get("In", [])):
        shell = names.get("get_ipython")
        try:
            code = shell().transform_cell(cell) if shell else cell
            tree = ast.parse(code)
        except SyntaxError:
            continue
        stored = (
            node.id
            for statement in tree.body
            if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )
        if name in stored:
            return str(code)
    return None


def _copied(value: Any) -> Any:
    """A copy of data that a function may change by mistake; all else as it is."""
    is_data = isinstance(value, dict | list | set | np.ndarray | pd.DataFrame | pd.Series)
    return copy.deepcopy(value) if is_data or _is_of_xarray(value) else value


def _is_of_xarray(value: Any) -> bool:
    return type(value).__module__.startswith("xarray.")


def _unchanged(now: Any, before: Any) -> bool:
    if isinstance(before, pd.DataFrame):
        same_names = list(now.columns) == list(before.columns)
        return same_names and list(now.dtypes) == list(before.dtypes) and bool(now.equals(before))
    if isinstance(before, pd.Series):
        return now.dtype == before.dtype and bool(now.equals(before))
    if _is_of_xarray(before):
        return bool(now.identical(before))
    return same(now, before)


def _short(text: str) -> str:
    return text if len(text) < 300 else f"{text[:300]} […]"


def _shown(value: Any) -> str:
    if isinstance(value, pd.DataFrame):
        return f"a frame of {len(value)} rows"
    is_long = isinstance(value, pd.Series | np.ndarray) or _is_of_xarray(value)
    return a(value) if is_long else SHORT.repr(value)


def a(value: Any) -> str:
    """The type of a value, as a sentence names it: "a list", "an int"."""
    name = "None" if value is None else type(value).__name__
    return name if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


# -- comparing -------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value by what it means: Python's own numbers, texts, lists, sets and dictionaries.

    Series, tuples and arrays become lists, scalars of numpy, Arrow and Decimal numbers,
    paths texts; what is missing (None, NaN, NA) becomes None.
    """
    if value is None or isinstance(value, bool | str | bytes):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, AbstractSet):
        return {plain(one) for one in value}
    if isinstance(value, pd.Series | pd.Index):
        return [plain(one) for one in value.tolist()]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    for to_python in ("as_py", "to_pylist", "to_list", "item"):  # of Arrow, polars, xarray
        if hasattr(value, to_python):
            return plain(getattr(value, to_python)())
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Iterable):
        return [plain(one) for one in value]
    return None if value is pd.NA or value is pd.NaT or value != value else value


def same(found: Any, expected: Any, tolerance: float = 1e-9) -> bool:
    """Whether two values mean the same; numbers may differ by ``tolerance`` of their size."""
    return _same(plain(found), plain(expected), tolerance)


def _same(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(_same(found[key], one, tolerance) for key, one in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(map(_same, found, expected, [tolerance] * len(expected)))
        )
    if isinstance(expected, bool) or isinstance(found, bool):
        return found is expected
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
    return bool(found == expected)


def table(value: Any, name: str) -> pd.DataFrame:
    """An answer as a data frame of pandas, be it one of polars, Arrow or DuckDB."""
    for to_pandas in ("to_pandas", "df"):
        if not isinstance(value, pd.DataFrame) and hasattr(value, to_pandas):
            value = getattr(value, to_pandas)()
    assert isinstance(value, pd.DataFrame), f"`{name}` should be a data frame; it is {a(value)}"
    return value


def same_rows(found: Any, expected: pd.DataFrame, name: str, *, ordered: bool = False) -> None:
    """Assert that two tables hold the same rows, by values; without telling these.

    Parameters
    ----------
    found
        The answer, a table of any library.
    expected
        The right one. The order of columns does not count, nor does the index.
    name
        What to call the answer in a message.
    ordered
        Whether the order of the rows counts.
    """
    frame = table(found, name)
    wanted = set(expected.columns)
    lacking, more = wanted - set(frame.columns), set(frame.columns) - wanted
    in_index = lacking & set(frame.index.names)
    assert not in_index, f"{sorted(in_index)} is in the index of `{name}`, not among its columns"
    assert not lacking, f"`{name}` lacks columns: {sorted(map(str, lacking))}"
    assert not more, f"`{name}` has columns that nobody asked for: {sorted(map(str, more))}"
    assert len(frame.columns) == len(wanted), f"`{name}` has a column twice"
    columns = list(expected.columns)
    rows, right = _rows(frame, columns), _rows(expected, columns)
    if (rows == right) if ordered else (Counter(rows) == Counter(right)):
        return
    assert Counter(rows) != Counter(right), f"the rows of `{name}` are right, their order is not"
    twice = len(rows) > len(right) and set(rows) == set(right)
    assert not twice, f"some rows are in `{name}` more than once"
    assert not set(rows) < set(right), f"`{name}` lacks rows that belong to it"
    assert not set(rows) > set(right), f"`{name}` has rows that do not belong to it"
    assert len(rows) == len(right), f"`{name}` does not hold the rows that are asked for"
    for position, column in enumerate(columns):
        has, needs = (Counter(row[position] for row in side) for side in (rows, right))
        other = next(iter(has - needs), None)
        assert has == needs, f"`{name}` holds other values in `{column}`, such as {other!r}"
    raise AssertionError(f"`{name}` has the right values, but some stand in the wrong rows")


def _rows(frame: pd.DataFrame, columns: list[Any]) -> list[tuple[Any, ...]]:
    """Rows as tuples of what the values mean; numbers to 9 digits, so that they can be counted."""

    def value(one: Any) -> Any:
        one = plain(one)
        if isinstance(one, int | float) and not isinstance(one, bool):
            return float(f"{one:.9g}")
        return str(one) if isinstance(one, list | dict | set) else one

    series = (frame[column] for column in columns)
    return list(zip(*([value(one) for one in each.tolist()] for each in series), strict=True))


# -- fresh data ------------------------------------------------------------------------


def today() -> random.Random:
    """Random numbers that are others each day, and the same all day.

    So a check that failed fails again, and yesterday's numbers do not pass it.
    """
    return random.Random(date.today().isoformat())  # noqa: S311 - data to try an answer on


@contextmanager
def own_prefix(s3: Any, bucket: str, below: str) -> Iterator[str]:
    """A prefix that nobody has written under, and that is empty again after the check.

    Parameters
    ----------
    s3
        A boto3 client.
    bucket, below
        Where; ``below`` ends with a slash.
    """
    prefix = f"{below}check-{uuid.uuid4().hex[:8]}/"
    try:
        yield prefix
    finally:
        for key, versions in history(s3, bucket, prefix).items():
            for version in versions:
                s3.delete_object(Bucket=bucket, Key=key, VersionId=version[0])


def history(s3: Any, bucket: str, prefix: str) -> dict[str, list[tuple[str, str | None, bool]]]:
    """All that a store knows of the objects under a prefix, to compare before and after.

    Returns
    -------
    dict
        For each key its versions, the newest first: (VersionId, ETag, whether it is the
        present one). A delete marker has no ETag.
    """
    found: dict[str, list[Any]] = {}
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            found.setdefault(one["Key"], []).append(one)
    return {
        key: [
            (one["VersionId"], one.get("ETag"), one["IsLatest"])
            for one in sorted(
                all_, key=lambda one: (one["IsLatest"], one["LastModified"]), reverse=True
            )
        ]
        for key, all_ in found.items()
    }
