"""Change one value in the JSON with comments of VS Code, and leave every other byte alone.

The format: https://code.visualstudio.com/docs/languages/json#_json-with-comments,
that is JSON with ``//`` and ``/* */``, and with commas before a closing bracket.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA = re.compile(rf"{_STRING}|,(?=\s*[\]}}])")
_BLANKS = " \t\r\n\ufeff"
_BLANK = re.compile(f"[{_BLANKS}]*")
_DECODER = json.JSONDecoder(strict=False)


def read(text: str) -> dict[str, Any]:
    """The object that ``text`` holds; an empty text holds an empty one.

    Raises
    ------
    ValueError
        It is something else.
    """
    value = _DECODER.decode(_plain(text).strip(_BLANKS) or "{}")
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def with_value(text: str, key: str, value: Any) -> str:
    """``text`` with ``key`` of its object set to ``value``; ValueError as in :func:`read`."""
    found = read(text)
    if not _plain(text).strip(_BLANKS):
        text += "{}"
    if key not in found:
        return _insert(text, _plain(text).index("{"), f"{json.dumps(key)}: {_dump(value)}")
    spans = [span for name, span in _members(text) if name == key]
    start, end = spans[-1]  # of two equal keys the last one counts
    return text[:start] + _dump(value) + text[end:]


def with_element(text: str, key: str, mark: str, element: dict[str, Any]) -> str:
    """``text`` with ``element`` in the array ``key``.

    It takes the place of the first one that has the same value of ``mark``.

    Raises
    ------
    ValueError
        As in :func:`read`, or ``key`` is no array.
    """
    elements = read(text).get(key)
    if elements is None:
        return with_value(text, key, [element])
    if not isinstance(elements, list):
        raise ValueError(f"{key} is not a list")
    start = [span[0] for name, span in _members(text) if name == key][-1]
    spans = [span for _, span in _members(text, start)]
    for old, (begin, end) in zip(elements, spans, strict=True):
        if isinstance(old, dict) and old.get(mark) == element[mark]:
            return text[:begin] + _dump(element) + text[end:]
    return _insert(text, start, _dump(element))


def _plain(text: str) -> str:
    """JSON of the same length: comments and last commas are blanks."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])

    return _LAST_COMMA.sub(blank, _COMMENT.sub(blank, text))


def _members(text: str, start: int = -1) -> Iterator[tuple[str | None, tuple[int, int]]]:
    """Key (None in an array), start and end of each value of what opens at ``start``."""
    plain = _plain(text)
    if start < 0:
        start = plain.index("{")
    place = _after_blanks(plain, start + 1)
    while plain[place] not in "}]":
        key = None
        if plain[start] == "{":
            key, place = _DECODER.raw_decode(plain, place)
            place = _after_blanks(plain, _after_blanks(plain, place) + 1)  # the colon
        _, end = _DECODER.raw_decode(plain, place)
        yield key, (place, end)
        place = _after_blanks(plain, end)
        if plain[place] == ",":
            place = _after_blanks(plain, place + 1)


def _after_blanks(plain: str, place: int) -> int:
    found = _BLANK.match(plain, place)
    return found.end() if found else place


def _insert(text: str, bracket: int, member: str) -> str:
    """``text`` with a first member in what opens at ``bracket``."""
    others = any(True for _ in _members(text, bracket))
    end = "," if others else "\n"
    return f"{text[: bracket + 1]}\n    {member}{end}{text[bracket + 1 :]}"


def _dump(value: Any) -> str:
    return textwrap.indent(json.dumps(value, indent=4), "    ").lstrip()
