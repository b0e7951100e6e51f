"""What the checks of the exercises share: right answers of any form, and sentences for errors."""

import decimal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr

sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))
from course import checks


def run(answer: str, check: str) -> dict[str, Any]:
    """Run an answer and a check as cells of one notebook; gives its variables."""
    names: dict[str, Any] = {"In": [answer], "pd": pd}
    exec(compile(answer, "<answer>", "exec"), names)
    exec(compile("from course.checks import *\n" + check, "<check>", "exec"), names)
    return names


def message(answer: str, check: str) -> str:
    with pytest.raises(AssertionError) as refused:
        run(answer, check)
    return str(refused.value)


DOUBLE = """
@check
def exercise(attempt):
    secret = 42
    assert same(attempt.call("double", 21), secret), "double(21) is not twice 21"
"""


# -- errors are told ---------------------------------------------------------------------


def test_an_error_of_the_answer_is_told_with_what_was_tried_and_its_line() -> None:
    said = message("def double(x):\n    y = 1\n    return twize(x)", DOUBLE)
    assert said.startswith("double(21) ended in NameError: name 'twize' is not defined, in line 3")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("double = ...", "replace each ... by a function"),
        ("other = 1", "replace each ... by a function"),
        ("double = 42", "`double` is not a function now, but an int"),
        ("def double(x, y): return 42", "TypeError: double() missing 1 required"),
        ("def double(x): assert x > 100, 'small'; return 42", "AssertionError: small, in line 1"),
        ("def double(x): return 41", "double(21) is not twice 21"),
    ],
)
def test_whatever_the_answer_does_one_assertion_says_it(answer: str, expected: str) -> None:
    assert expected in message(answer, DOUBLE)


def test_an_answer_of_another_form_is_no_error_of_the_check() -> None:
    check = "@check\ndef exercise(attempt):\n    len(attempt.value('names', 'a list'))"
    said = message("names = 7", check)
    assert "after `names` (TypeError: object of type 'int' has no len())" in said
    assert "of the form that the task asks for" in said


def test_a_notebook_shows_the_sentence_without_the_lines_of_the_check() -> None:
    with pytest.raises(AssertionError) as refused:
        run("double = ...", DOUBLE)
    (shown,) = refused.value._render_traceback_()
    assert shown.startswith("Not yet: replace each ...")
    assert refused.value.__suppress_context__


def test_a_check_keeps_its_names_to_itself() -> None:
    names = run("def double(x): return x * 2", DOUBLE)
    assert "secret" not in names and names["exercise"] is None


# -- what must stay as it was --------------------------------------------------------------

FRAME = pd.DataFrame({"n": [3.0, None, 1.0]}, index=[4, 5, 6])


@pytest.mark.parametrize(
    "spoil",
    [
        "data.sort_values('n', inplace=True)",
        "data['more'] = 1",
        "data.fillna(0, inplace=True)",
        "data['n'] = data['n'].astype(str)",
        "data.drop(index=4, inplace=True)",
        "data.rename(columns=str.upper, inplace=True)",
    ],
)
def test_a_function_that_changes_what_it_is_given_is_refused(spoil: str) -> None:
    names = {"give": lambda data: exec(spoil, {"data": data})}
    attempt = checks.Attempt(names, "<check>")
    with pytest.raises(AssertionError, match="changed a frame of 3 rows that it was given"):
        attempt.call("give", FRAME.copy())


@pytest.mark.parametrize("spoil", ["data[0] = 9.0", "data.attrs['units'] = '°C'"])
def test_a_function_that_changes_an_array_of_xarray_is_refused(spoil: str) -> None:
    names = {"give": lambda data: exec(spoil, {"data": data}), "read": lambda data: data.max()}
    attempt = checks.Attempt(names, "<check>")
    array = xr.DataArray([1.0, 2.0], {"day": [4, 5]}, "day", attrs={"units": "K"})
    assert checks.same(attempt.call("read", array), 2)
    with pytest.raises(AssertionError, match="changed a DataArray that it was given"):
        attempt.call("give", array)


def test_an_answer_that_has_to_fail_gives_its_error() -> None:
    attempt = checks.Attempt({"half": lambda x: x / 0, "whole": lambda x: x}, "<check>")
    assert isinstance(attempt.error_of("half", 1), ZeroDivisionError)
    assert attempt.error_of("whole", 1) is None


def test_the_cell_of_an_answer_runs_again_on_other_data() -> None:
    cell = "few = sorted(numbers)[:2]"
    names = {"In": ["numbers = [3, 2, 1]", cell, "1 + 1"], "numbers": [3, 2, 1], "few": [1, 2]}
    attempt = checks.Attempt(names, "<check>")
    assert attempt.again("few", numbers=[9, 8, 7]) == [7, 8]
    assert names["few"] == [1, 2] and names["numbers"] == [3, 2, 1]
    names["In"].append("numbers.sort(); few = numbers[:2]")
    with pytest.raises(AssertionError, match="your cell changes `numbers` itself"):
        attempt.again("few", numbers=[9, 8, 7])
    names["In"].append("few = numbers[:2].smallest()")
    with pytest.raises(AssertionError, match=r"run again on .* no attribute 'smallest', in line 1"):
        attempt.again("few", numbers=[9, 8, 7])


# -- what is right has many types ------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [
        [1, 2],
        (1.0, 2),
        np.array([1, 2]),
        pd.Series([1, 2], index=[7, 8]),
        pd.Index([1, 2]),
        pl.Series([1, 2]),
        pa.array([1, 2]),
        pa.chunked_array([[1], [2]]),
        [decimal.Decimal("1"), np.float64(2)],
        [pa.scalar(1), pd.Series([2]).sum()],
        (number for number in [1, 2]),
    ],
    ids=lambda found: type(found).__name__,
)
def test_a_list_by_another_name_is_the_same(found: Any) -> None:
    assert checks.same(found, [1, 2])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Path("a/b"), "a/b"),
        (np.bool_(True), True),
        ({Path("a")}, {"a"}),
        ({"a": np.int64(1)}, {"a": 1}),
        (float("nan"), None),
        (pd.NA, None),
        (0.1 + 0.2, 0.3),
        (pa.scalar("x"), "x"),
    ],
)
def test_what_means_the_same_is_the_same(found: Any, expected: Any) -> None:
    assert checks.same(found, expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([2, 1], [1, 2]),
        ([1, 2, 2], [1, 2]),
        ("1", 1),
        (1, True),
        (0, None),
        ({"a": 1}, {"a": 1, "b": 2}),
        ("ab", ["a", "b"]),
        (1.001, 1),
    ],
)
def test_what_means_something_else_is_not(found: Any, expected: Any) -> None:
    assert not checks.same(found, expected)


RIGHT = pd.DataFrame({"code": ["01", "02", "2A"], "n": [1, 2, None], "when": ["x", "x", "y"]})


@pytest.mark.parametrize(
    "found",
    [
        RIGHT.iloc[::-1],
        RIGHT[["n", "when", "code"]],
        RIGHT.convert_dtypes(),
        RIGHT.astype({"when": "category"}),
        pl.from_pandas(RIGHT),
        pa.Table.from_pandas(RIGHT),
        RIGHT.set_index("code").reset_index(),
    ],
)
def test_the_same_rows_pass_in_any_order_and_of_any_library(found: Any) -> None:
    checks.same_rows(found, RIGHT, "made")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (RIGHT.drop(columns="n"), r"lacks columns: \['n'\]"),
        (RIGHT.assign(m=1), r"nobody asked for: \['m'\]"),
        (RIGHT.set_index("code"), r"\['code'\] is in the index"),
        (RIGHT.iloc[:2], "lacks rows that belong"),
        (RIGHT.iloc[[0, 1, 2, 2]], "more than once"),
        (RIGHT.fillna({"n": 0}), "other values in `n`, such as 0.0"),
        (RIGHT.assign(code=["1", "2", "2A"]), "other values in `code`, such as '1'"),
        (RIGHT.assign(n=[2, 1, None]), "some stand in the wrong rows"),
        (RIGHT.assign(n=RIGHT["n"].astype(str)), "other values in `n`"),
        ([1, 2], "should be a data frame; it is a list"),
        (None, "should be a data frame; it is None"),
    ],
)
def test_other_rows_are_refused_with_their_kind_of_fault(found: Any, expected: str) -> None:
    with pytest.raises(AssertionError, match=expected):
        checks.same_rows(found, RIGHT, "made")


def test_the_order_of_rows_counts_where_it_is_asked_for() -> None:
    with pytest.raises(AssertionError, match="their order is not"):
        checks.same_rows(RIGHT.iloc[::-1], RIGHT, "made", ordered=True)


def test_fresh_numbers_are_the_same_all_day() -> None:
    assert checks.today().random() == checks.today().random()
