"""Small mutations of a solution, each of which the check of its exercise should refuse.

The operators work on the tree of Python's own `ast` and change the text in place, so that
what they make is still readable. Cosmic Ray's would have served for a third of them
(numbers, comparisons, operators, loops). It knows no argument, text, line or method that is
dropped, and would have brought nine packages along, GitPython among them.

`mutants` changes the code. `spoilers` lets the code stand and spoils what it made, in the
ways in which data go wrong: values in other rows, a type, an order, a unit.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
}
OPERATORS = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "//",
    ast.FloorDiv: "/",
    ast.Mod: "//",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
#: Methods and functions that are mistaken for each other.
PAIRS = [
    *[("all", "any"), ("min", "max"), ("mean", "median"), ("first", "last"), ("head", "tail")],
    *[("sum", "count"), ("size", "count"), ("isna", "notna"), ("startswith", "endswith")],
    *[("match", "fullmatch"), ("removeprefix", "removesuffix"), ("append", "extend")],
    *[("loc", "iloc"), ("intersects", "within"), ("sorted", "list"), ("left", "inner")],
]
INSTEAD = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
#: Encodings, separators and modes that are mistaken for each other.
TEXTS = {
    "cp1252": "mac_roman",
    "latin-1": "utf-8",
    "utf-8": "latin-1",
    ",": ";",
    ";": ",",
    "/": "",
    "left": "inner",
    "w": "a",
}


@dataclass(frozen=True)
class Mutant:
    """One change of a solution: what it is, as an author reads it, and the whole text."""

    name: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """All small changes of some code; none where it is no Python (`%%bash`)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    raw = source.encode()
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    known, names, found = {ast.dump(tree)}, Counter[str](), []
    for node, text in _changes(tree, source):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        changed = (raw[:begin] + text.encode() + raw[end:]).decode()
        try:
            dump = ast.dump(ast.parse(changed))
        except SyntaxError:
            continue
        if dump in known:
            continue
        known.add(dump)
        name = f"line {node.lineno}: {_one_line(raw[begin:end].decode())} becomes {_one_line(text)}"
        names[name] += 1
        found.append(Mutant(f"{name} ({names[name]})" if names[name] > 1 else name, changed))
    return found


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return f"`{text}`" if len(text) <= 70 else f"`{text[:34]}…{text[-34:]}`"


def _changes(tree: ast.AST, source: str) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Pairs of a node and the text to put in its place."""

    def text(node: ast.AST) -> str:
        return ast.get_source_segment(source, node) or ast.unparse(node)

    inside_texts = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for inner in ast.walk(node)
        if inner is not node
    }
    documentation = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if node in inside_texts or node in documentation:
            continue  # before Python 3.12 what is inside an f-string has no position
        match node:
            case ast.Constant(value=bool() as value):
                yield node, str(not value)
            case ast.Constant(value=int() | float() as value):
                yield node, repr(value + 1)
                yield node, f"({value - 1!r})"
                if value >= 100:
                    yield node, repr(value * 10)
            case ast.Constant(value=str() as value):
                yield node, repr(TEXTS.get(value.lower(), INSTEAD.get(value, value[:-1] or "x")))
            case ast.Constant(value=None):
                yield node, "0"
            case ast.JoinedStr():
                yield from ((node, other) for other in _texts(node))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                for other in COMPARISONS[type(operator)]:
                    yield node, f"{text(left)} {other} {text(right)}"
            case ast.BoolOp(op=operator, values=values):
                other = " or " if isinstance(operator, ast.And) else " and "
                yield node, other.join(map(text, values))
                for value in values:
                    yield node, f"({text(value)})"
            case ast.UnaryOp(operand=operand):
                yield node, f"({text(operand)})"
            case ast.BinOp(left=left, op=operator, right=right):
                if type(operator) in OPERATORS:
                    yield node, f"{text(left)} {OPERATORS[type(operator)]} {text(right)}"
                yield node, f"({text(left)})"
                if not isinstance(operator, ast.Mod):
                    yield node, f"({text(right)})"
            case ast.AugAssign(target=target, op=operator, value=value):
                yield node, f"{text(target)} = {text(value)}"
                if type(operator) in OPERATORS:
                    yield node, f"{text(target)} {OPERATORS[type(operator)]}= {text(value)}"
            case ast.Call():
                yield from ((node, other) for other in _calls(node, text))
            case ast.Attribute(value=value, attr=name) if name in INSTEAD:
                yield node, f"{text(value)}.{INSTEAD[name]}"
            case ast.Name(id=name) if name in INSTEAD:
                yield node, INSTEAD[name]
            case ast.Subscript(value=value, slice=ast.Slice(lower, upper, step)):
                for part in ((None, upper, step), (lower, None, step), (lower, upper, None)):
                    shown = [text(one) if one else "" for one in part]
                    yield node, f"{text(value)}[{shown[0]}:{shown[1]}:{shown[2]}]"
            case ast.Subscript(value=value, ctx=ast.Load()):
                yield node, text(value)
            case ast.List(elts=[_, *_] as parts, ctx=ast.Load()):
                yield from (
                    (node, f"[{', '.join(text(one) for one in parts if one is not gone)}]")
                    for gone in parts
                )
            case ast.Dict(keys=[_, *_] as keys):
                for gone in range(len(keys)):
                    kept = ast.Dict(_without(keys, gone), _without(node.values, gone))
                    yield node, ast.unparse(kept)
            case ast.IfExp(body=body, orelse=other):
                yield node, f"({text(body)})"
                yield node, f"({text(other)})"
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                yield from ((node, other) for other in _comprehensions(node))
        if isinstance(node, ast.stmt):
            yield from _statements(node, text)


def _without(items: list, gone: int) -> list:
    return items[:gone] + items[gone + 1 :]


def _texts(node: ast.JoinedStr) -> Iterator[str]:
    for position, part in enumerate(node.values):
        if isinstance(part, ast.FormattedValue):
            rest = _without(node.values, position)
        elif part.value.strip():
            rest = [*node.values]
            rest[position] = ast.Constant(part.value[:-1])
        else:
            continue
        yield ast.unparse(ast.JoinedStr(rest))


def _calls(node: ast.Call, text) -> Iterator[str]:
    """A call with an argument dropped, two exchanged, or not made at all."""
    function = text(node.func)
    parts = [text(one) for one in node.args]
    options = [
        f"{one.arg}={text(one.value)}" if one.arg else text(one.value) for one in node.keywords
    ]
    for gone in range(len(parts) + len(options)):
        yield f"{function}({', '.join(_without(parts + options, gone))})"
    for first in range(len(parts) - 1):
        other = [*parts[:first], parts[first + 1], parts[first], *parts[first + 2 :]]
        yield f"{function}({', '.join(other + options)})"
    if isinstance(node.func, ast.Attribute):
        yield f"({text(node.func.value)})"
    if len(parts) == 1 and not any(isinstance(one, ast.Starred) for one in node.args):
        yield f"({parts[0]})"


def _comprehensions(node) -> Iterator[str]:
    """A comprehension without one of its conditions, or without the last or first item."""
    (loop, *others) = node.generators
    for gone in range(len(loop.ifs)):
        less = ast.comprehension(loop.target, loop.iter, _without(loop.ifs, gone), 0)
        yield _unparsed(node, [less, *others])
    for part in ("[1:]", "[:-1]"):
        items = ast.parse(f"list({ast.unparse(loop.iter)}){part}", mode="eval").body
        yield _unparsed(node, [ast.comprehension(loop.target, items, loop.ifs, 0), *others])


def _unparsed(node, generators) -> str:
    fields = dict(ast.iter_fields(node)) | {"generators": generators}
    return ast.unparse(type(node)(**fields))


def _statements(node: ast.stmt, text) -> Iterator[tuple[ast.AST, str]]:
    """A line dropped, a branch always or never taken, a loop that ends early."""
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            yield from _ignorant(node)
        case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
            pass
        case ast.If(test=test) | ast.While(test=test):
            if isinstance(node, ast.If):
                yield test, "True"
            yield test, "False"
        case ast.For(iter=items):
            for part in ("[:0]", "[:1]", "[1:]", "[:-1]"):
                yield items, f"list({text(items)}){part}"
        case ast.Try(handlers=handlers):
            for handler in handlers:
                if handler.type:
                    yield handler.type, "Exception"
                    yield handler.type, "ZeroDivisionError"
        case ast.With(body=body):
            yield node, _at(node, *body)
        case ast.Break():
            yield node, "continue"
        case ast.Continue():
            yield node, "break"
        case ast.Return(value=value) if value is not None:
            yield node, "return"
        case ast.Raise():
            yield node, "pass"
        case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Delete():
            yield node, "pass"


def _at(node: ast.stmt, *statements: ast.stmt) -> str:
    """Statements as text, indented as the one whose place they take."""
    lines = "\n".join(map(ast.unparse, statements))
    return lines.replace("\n", "\n" + " " * node.col_offset)


def _ignorant(node: ast.FunctionDef | ast.ClassDef) -> Iterator[tuple[ast.AST, str]]:
    """A function that keeps the first argument it ever got, for each of its parameters."""
    if not isinstance(node, ast.FunctionDef):
        return
    first = node.body[0]
    for parameter in (*node.args.args, *node.args.kwonlyargs):
        name = parameter.arg
        kept = ast.parse(f"{name} = {node.name}.__dict__.setdefault({name!r}, {name})").body[0]
        yield first, _at(first, kept, first)


# -- what goes wrong with data -------------------------------------------------------------

#: By the kind of what was made: what goes wrong, and the code that does it to `X`. Where it
#: changes nothing (no value is missing, say), there is no such mutant.
SPOILT = {
    "frame": {
        "the last row is lost": "X.iloc[:-1]",
        "a row is doubled": "_pd.concat([X, X.iloc[:1]])",
        "what is missing becomes 0": "X.fillna(dict.fromkeys(X.select_dtypes('number'), 0))",
        "rows with something missing are lost": "X.dropna()",
        "a column is lost": "X[list(X)[:-1]]",
        "the first column is the index": "X.set_index(list(X)[0])",
        "codes become numbers": "X.apply(_numbers)",
        "numbers become text": "X.apply(lambda c: c.astype(str) if c.dtype.kind in 'if' else c)",
        "the unit is another": "X.apply(lambda c: c * 1000 if c.dtype.kind in 'if' else c)",
        "texts were read as latin-1": "X.apply(_mojibake)",
        "one column stands in other rows": (
            "X.assign(**{list(X)[-1]: X[list(X)[-1]].to_numpy()[::-1]})"
        ),
        "each column stands in other rows": "X.apply(lambda c: c.sort_values().to_numpy())",
    },
    "series": {
        "the last row is lost": "X.iloc[:-1]",
        "what is missing becomes 0": "X.fillna(0)",
        "values stand in other rows": "_pd.Series(X.to_numpy()[::-1], X.index)",
        "numbers become text": "X.astype(str)",
        "the unit is another": "X * 1000",
    },
    "list": {
        "the last is lost": "X[:-1]",
        "the first is doubled": "X[:1] + X",
        "the order is another": "X[::-1]",
        "only the first": "X[0] if X else X",
    },
    "dict": {
        "the last is lost": "dict(list(X.items())[:-1])",
        "one more": "{**X, '_more': 0}",
        "keys only": "list(X)",
        "values are 1 too large": "{k: v + 1 if isinstance(v, int) else v for k, v in X.items()}",
        "values are texts": "{k: str(v) for k, v in X.items()}",
        "values are true or false": "{k: bool(v) for k, v in X.items()}",
    },
    "set": {"one is lost": "set(sorted(X)[:-1])", "one more": "X | {'_more'}"},
    "number": {
        "1 too large": "X + 1",
        "the unit is another": "X * 1000",
        "the sign is another": "-X",
        "as text": "str(X)",
        "as a list": "[X]",
    },
    "truth": {"always true": "True", "always false": "False"},
    "text": {"the last letter is lost": "X[:-1]", "nothing": "''", "as a list": "[X]"},
}
#: To a data frame that an answer is given, or finds in the notebook.
IN_PLACE = {
    "a row of it is lost": "X.drop(index=X.index[-1:], inplace=True)",
    "it has a column more": "X['_more'] = 0",
    "what was missing in it is 0": (
        "[X.__setitem__(c, X[c].fillna(0)) for c in X.select_dtypes('number')]"
    ),
}
TOOLS = """
import pandas as _pd

def _numbers(column):
    try:
        return _pd.to_numeric(column) if column.dtype.kind not in "ifMb" else column
    except (ValueError, TypeError):
        return column

def _mojibake(column):
    return column.map(
        lambda one: one.encode().decode("latin-1") if isinstance(one, str) else one
    ) if column.dtype.kind not in "ifMb" and str(column.dtype) != "category" else column
"""


def spoilers(source: str, made: dict[str, list[str]], used: list[str]) -> list[Mutant]:
    """A solution whose result, or input, is spoilt afterwards.

    Parameters
    ----------
    source
        The solution.
    made
        What each of its names is: a key of SPOILT; or ``"function"``, the kind of what it
        returns, and those of what it is given.
    used
        Names of data frames of the notebook that it reads.
    """
    found = []
    for name, (kind, *more) in made.items():
        if kind == "function":
            changes = _spoilt_functions(name, *more)
        else:
            spoilt = SPOILT.get(kind, {}).items()
            changes = ((what, f"{name} = {code.replace('X', name)}") for what, code in spoilt)
        for what, code in changes:
            found.append(Mutant(f"`{name}`: {what}", f"{source}\n{TOOLS}\n{code}"))
    for name in used:
        for what, code in IN_PLACE.items():
            spoilt = f"{source}\n{code.replace('X', name)}"
            found.append(Mutant(f"`{name}` is changed: {what}", spoilt))
    return found


def _spoilt_functions(name: str, returned: str = "", *taken: str) -> Iterator[tuple[str, str]]:
    """The function, wrapped into another of the same name that does something else."""

    def wrapped(*lines: str) -> str:
        body = "\n    ".join(lines)
        return f"def {name}(*_a, _right={name}, _kept=[], **_k):\n    {body}\n"

    call = "_right(*_a, **_k)"
    yield "as at its first call", wrapped(f"_kept or _kept.append({call})", "return _kept[0]")
    if returned:
        yield "returns nothing", wrapped(call)
    for what, code in SPOILT.get(returned, {}).items():
        yield f"returned, {what}", wrapped(f"X = {call}", f"return {code}")
    changes = dict(IN_PLACE) if "frame" in taken else {}
    if "list" in taken:
        changes["an item of a list is lost"] = "X.pop()"
    if "dict" in taken:
        changes["an item of a dictionary is lost"] = "X.popitem()"
    for what, code in changes.items():
        method = code.split("(")[0].split(".")[-1] if code.startswith("X.pop") else "columns"
        yield (
            f"its input is changed: {what}",
            wrapped(
                "for X in [*_a, *_k.values()]:",
                f"    if hasattr(X, {method!r}) and len(X):",
                f"        {code}",
                f"return {call}",
            ),
        )
