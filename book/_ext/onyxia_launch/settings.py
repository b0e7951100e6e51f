"""The options as they were given, checked against ``options.yml`` and with its defaults."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped]  # comes with nbformat
import yaml
from sphinx.errors import ConfigError

SCHEMA = yaml.safe_load(Path(__file__).with_name("options.yml").read_text(encoding="utf-8"))
OPTIONS: dict[str, dict[str, Any]] = SCHEMA["properties"]
_TYPES = {"boolean": bool, "string": str, "array": list, "object": dict}


def types(option: Mapping[str, Any]) -> list[type]:
    """The types of an option, in Python."""
    listed = option["type"] if isinstance(option["type"], list) else [option["type"]]
    return [_TYPES[name] for name in listed]


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options and add their defaults.

    Parameters
    ----------
    given
        By their names without ``launch_``.

    Raises
    ------
    ConfigError
        Names the option that is wrong, and says what it has to be.
    """
    settings = copy.deepcopy(dict(given))
    for error in VALIDATOR.iter_errors(settings):
        raise ConfigError(_message(error))
    for option, inside in (("instances", "services"), ("notebooks", "charts")):
        for name, one in settings[option].items():
            for chart in one[inside]:
                if chart not in settings["services"]:
                    where = _name(option, name, inside)
                    raise ConfigError(f"{where}: {chart!r} does not fit. launch_services lacks it.")
    host = urlsplit(settings["repository"]).netloc
    seen = "gitlab" if "gitlab" in host else {"github.com": "github"}.get(host)
    if not settings.setdefault("forge", seen):
        raise ConfigError(f"launch_forge is missing, and {host} does not tell: github or gitlab?")
    return settings


def _name(option: object, *inside: object) -> str:
    return f"launch_{option}" + "".join(f"[{key!r}]" for key in inside)


def _message(error: jsonschema.ValidationError) -> str:
    path, inside = error.absolute_path, error.schema.get("properties", {})
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{_name(*path, missing)} is missing. {inside[missing]['description']}"
    if error.validator == "additionalProperties":
        unknown = next(name for name in error.instance if name not in inside)
        return f"{_name(*path, unknown)} is no option; there are {', '.join(inside)}."
    about = error.schema.get("description", f"{error.message}.")
    return f"{_name(*path)}: {error.instance!r} does not fit. {about}"


def _with_defaults(validator: Any, options: Any, given: Any, schema: Any) -> Iterator[Any]:
    """Check ``properties``, and add defaults (a recipe of jsonschema's documentation)."""
    if validator.is_type(given, "object"):
        for name, option in options.items():
            if "default" in option:
                given.setdefault(name, copy.deepcopy(option["default"]))
    yield from DRAFT.VALIDATORS["properties"](validator, options, given, schema)


DRAFT = jsonschema.Draft202012Validator
VALIDATOR = jsonschema.validators.extend(DRAFT, {"properties": _with_defaults})(SCHEMA)
