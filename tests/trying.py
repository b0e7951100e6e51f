"""Runs in the kernel of a proof: an answer and its check, on a copy of the notebook's variables.

It is run by path, so that none of its names is among the notebook's.
"""

import ast
import hashlib
import json
import linecache
import math
import numbers
import re
import signal
import time
from collections.abc import Mapping

from IPython import get_ipython


class AnswerFailed(Exception):
    """The cell of the answer ended in an error: a student sees that one, and no check."""


class Told(Exception):
    """The check refused the answer, and said what would be right."""


def attempt(answer: str, check: str, seconds: float = 0, expected: tuple[str, ...] = ()) -> str:
    """What `tried` gives, or JSON with the `failure` that it raises, as `Name: message`.

    An error that leaves the cell would be drawn with its traceback, by far the longest part of
    most attempts.
    """
    try:
        return json.dumps(tried(answer, check, seconds, expected))
    except Exception as error:
        return json.dumps({"failure": f"{type(error).__name__}: {error}"})


def tried(answer: str, check: str, seconds: float, expected: tuple[str, ...]) -> dict:
    """Run an answer, then the check.

    Parameters
    ----------
    answer, check
        The sources of both cells.
    seconds
        After so many of them a TimeoutError is raised in the answer; 0 for never.
    expected
        Texts that no message may contain, unless the answer itself made them.

    Returns
    -------
    dict
        `made` and `used` as mutation.spoilers takes them, `expected`, how what was
        made could stand in a message, a digest of the `values` that are no functions, and
        the `seconds` that it took.

    Raises
    ------
    AnswerFailed
        The cell of the answer failed.
    AssertionError, Told
        What the check said.
    """
    shell = get_ipython()
    variables = {name: _copied(value) for name, value in shell.user_ns.items()}
    variables["In"] = [*shell.user_ns["In"], answer]
    begun = time.monotonic()
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            _run(shell, answer, "<answer>", variables)
        except Exception as error:
            raise AnswerFailed(f"{type(error).__name__}: {error}") from None
        calls = {name: _recorded(name, variables) for name in _made(shell, answer, variables)}
        answers = {name: variables[name] for name in calls}
        try:
            _run(shell, check, "<check>", variables)
        except AssertionError as error:
            if _tells(str(error), expected, answers, calls):
                raise Told(str(error)) from None
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "made": {name: _kinds(variables[name], made) for name, made in calls.items()},
        "used": _used(shell, answer, shell.user_ns, calls),
        "values": {n: _digest(one) for n, one in answers.items() if not callable(one)},
        "expected": sorted(set().union(*(_texts(variables[n], c) for n, c in calls.items()))),
        "seconds": time.monotonic() - begun,
    }


def _tells(message: str, expected: tuple[str, ...], answers: dict, calls: dict) -> bool:
    """Whether a message has the right answer as a number or word of its own."""
    own = repr([answers[name] for name in answers if not callable(answers[name])])
    own += repr(calls)  # what functions were given stands in messages, too
    return any(
        re.search(rf"(?<![\w.,]){re.escape(text)}(?![\w]|[.,]\d)", message)
        for text in expected
        if text not in own
    )


def _too_long(*_: object) -> None:
    raise TimeoutError("it takes too long: does it ever end?")


def _run(shell, source: str, name: str, variables: dict) -> None:
    code = shell.transform_cell(source)
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    exec(compile(code, name, "exec"), variables)


def _copied(value):
    """A mutant may change in place what the notebook needs later.

    A shallow copy of pandas is written to on a copy of its own.
    """
    return value.copy(deep=False) if _kind(value) == "frame" else value


def _names(shell, source: str, context: type) -> set[str]:
    tree = ast.parse(shell.transform_cell(source))
    kinds = (ast.FunctionDef, ast.ClassDef)
    if context is ast.Store:
        outside = [one for one in tree.body if not isinstance(one, kinds)]
        found = {one.name for one in tree.body if isinstance(one, kinds)}
    else:
        outside, found = tree.body, set()
    nodes = (node for one in outside for node in ast.walk(one) if isinstance(node, ast.Name))
    return found | {node.id for node in nodes if isinstance(node.ctx, context)}


def _made(shell, answer: str, variables: dict) -> list[str]:
    return sorted(name for name in _names(shell, answer, ast.Store) if name in variables)


def _used(shell, answer: str, names: dict, made) -> list[str]:
    """Data frames of the notebook that an answer reads by name."""
    read = sorted(_names(shell, answer, ast.Load) - set(made))
    return [name for name in read if _kind(names.get(name)) == "frame"]


def _recorded(name: str, variables: dict) -> list:
    """Let a function note what it is given and what it returns; nothing for all else."""
    function, calls = variables[name], []
    if not callable(function) or isinstance(function, type):
        return calls

    def noting(*arguments, **options):
        noted = [None, [*arguments, *options.values()]]
        calls.append(noted)
        noted[0] = function(*arguments, **options)
        return noted[0]

    variables[name] = noting
    return calls


def _kind(value) -> str:
    name = type(value).__name__
    if name in ("DataFrame", "GeoDataFrame"):
        return "frame" if type(value).__module__.startswith(("pandas", "geopandas")) else ""
    for kind, types in {
        "truth": bool,
        "number": numbers.Real,
        "text": str,
        "list": list,
        "dict": dict,
        "set": set | frozenset,
    }.items():
        if isinstance(value, types):
            return kind
    if name in ("Series", "GeoSeries") and type(value).__module__.startswith("pandas"):
        return "series"
    return "function" if callable(value) else ""


def _kinds(value, calls: list) -> list[str]:
    kind = _kind(value)
    if kind != "function":
        return [kind]
    returned = next((_kind(result) for result, _ in calls if result is not None), "")
    taken = {_kind(one) for _, given in calls for one in given}
    return ["function", returned, *sorted(taken)]


def _digest(value) -> str:
    """The same for two answers that hold the same values."""
    if _kind(value) in ("frame", "series"):
        present = value.astype(object).where(value.notna(), None)
        columns = present.to_dict("list") if _kind(value) == "frame" else present.tolist()
        value = value.index.tolist(), columns
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _texts(value, calls: list) -> set[str]:
    """How the right answer could stand in a message."""
    found: set[str] = set()
    for one in [result for result, _ in calls] if _kind(value) == "function" else [value]:
        if type(one).__module__ == "numpy" and one.size == 1:
            one = one.item()
        kind = _kind(one)
        if kind == "number" and math.isfinite(one):
            found |= {str(one), f"{one:,}", f"{one:.1f}", f"{one:.2f}", f"{one:.3f}"}
            if isinstance(one, float) and one == int(one):
                found.add(str(int(one)))
        elif kind in ("list", "dict", "set"):
            found.add(str(one))
            if len(one) == 1:
                found |= _texts(next(iter(one.values() if isinstance(one, Mapping) else one)), [])
        elif kind == "text":
            found.add(one)
    # single digits and short words stand in many messages for other reasons
    return {text for text in found if sum(map(str.isalnum, text)) > (3 if text.isalpha() else 1)}
