"""The mutants of a solution: which there are, and that each is another program."""

import ast

import pytest

from tests.mutation import mutants, spoilers


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1000", {"x = 1001", "x = (999)", "x = 10000", "pass"}),
        ("x = a <= b", {"x = a < b", "x = a > b", "pass"}),
        ("x = not a", {"x = (a)", "pass"}),
        ("x = ~a", {"x = (a)", "pass"}),
        ("x = a & b", {"x = a | b", "x = (a)", "x = (b)", "pass"}),
        ("x = a and b", {"x = a or b", "x = (a)", "x = (b)", "pass"}),
        ("f(a, key=b)", {"f(key=b)", "f(a)", "(a)", "pass"}),
        ("f(a, b)", {"f(b)", "f(a)", "f(b, a)", "pass"}),
        ("a.min()", {"a.max()", "(a)", "pass"}),
        ('x = "cp1252"', {"x = 'mac_roman'", "pass"}),
        ('x = ";"', {"x = ','", "pass"}),
        ('x = f"{a}/b"', {"x = f'/b'", "x = f'{a}/'", "pass"}),
        ("x = a[1:]", {"x = a[2:]", "x = a[(0):]", "x = a[::]", "pass"}),
        ("x = {1: a, 2: b}", {"x = {2: b}", "x = {1: a}"}),
        ("if a:\n    b()", {"if True:\n    b()", "if False:\n    b()", "if a:\n    pass"}),
        ("for a in b:\n    break", {"for a in list(b)[:1]:\n    break"}),
        ("x = [a for a in b if a]", {"x = [a for a in b]", "x = [a for a in list(b)[1:] if a]"}),
        ("try:\n    a()\nexcept KeyError:\n    b()", {"try:\n    a()\nexcept Exception:\n    b()"}),
        ("with a:\n    b()\n    c()", {"b()\nc()"}),
        ("def f(a):\n    return a", {"def f(a):\n    return"}),
    ],
)
def test_changes_of_code(source: str, expected: set[str]) -> None:
    found = {mutant.source for mutant in mutants(source)}
    assert expected <= found, found


def test_a_function_may_keep_the_first_argument_it_ever_got() -> None:
    source = "def add(a, b):\n    return a + b"
    names: dict = {}
    kept = [one for one in mutants(source) if "setdefault('b'" in one.source]
    exec(kept[0].source, names)
    assert (names["add"](1, 2), names["add"](1, 5), names["add"](2, 5)) == (3, 3, 4)


LONG = '''def count(frame, é="é"):
    """What it says."""
    found = {}
    for name in frame:
        with open(f"{name}/{é}") as file:
            text = file.read()
        if "é" in text and len(text) >= 10:
            found[name] = [line for line in text.split(",") if line][0:5]
    return found
'''


def test_each_mutant_is_another_program_with_a_name_of_its_own() -> None:
    found = mutants(LONG)
    assert len(found) > 30
    trees = {ast.dump(ast.parse(mutant.source)) for mutant in found} | {ast.dump(ast.parse(LONG))}
    assert len(trees) == len(found) + 1
    assert len({mutant.name for mutant in found}) == len(found)
    assert all("What it says" in mutant.source for mutant in found)


def test_what_is_no_python_has_no_mutants() -> None:
    assert mutants("%%bash\nls") == []


def test_results_and_inputs_are_spoilt_by_their_kind() -> None:
    made = {"few": ["list"], "f": ["function", "dict", "frame"], "odd": [""]}
    found = {mutant.name: mutant.source for mutant in spoilers("few = [1, 2]", made, ["homes"])}
    names: dict = {}
    exec(found["`few`: the order is another"], names)
    assert names["few"] == [2, 1]
    assert "`homes` is changed: it has a column more" in found
    assert "`f`: its input is changed: a row of it is lost" in found
    assert "`f`: returned, the last is lost" in found
    assert "`f`: its input is changed: an item of a list is lost" not in found
