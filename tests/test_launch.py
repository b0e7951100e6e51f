"""Launch links arrive as they were meant: read by Onyxia's rules, a chart's YAML and a shell.

`Launcher` is written from what Onyxia's launcher does with an address, not from the
extension under test.
"""

from __future__ import annotations

import html
import itertools
import math
import re
import shutil
import string
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt
from sphinx.errors import ConfigError

# One worker builds each of the books once.
pytestmark = pytest.mark.xdist_group("launch")

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "book" / "_ext"), str(ROOT / "init-scripts")]
import badges  # noqa: E402
from onyxia_launch.links import arrive_unchanged, encoded, entries, note  # noqa: E402
from onyxia_launch.settings import OPTIONS, read  # noqa: E402
from student_edition import FOLDED  # noqa: E402

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
REPOSITORY, VERSION = CONFIG["repository"]["url"], CONFIG["repository"]["branch"]
ONYXIA = "https://datalab.sspcloud.fr"


# -- what becomes of a link -------------------------------------------------------


class Launcher(NamedTuple):
    """What Onyxia makes of an address: its own parameters, and the chart's values."""

    instance: str
    catalogue: str
    chart: str
    own: dict[str, str]
    values: dict[str, object]

    @classmethod
    def open(cls, url: str) -> Launcher:
        match = re.fullmatch(r"(https://[^/?#]+)/launcher/([^/?#]+)/([^/?#]+)\?([^#]*)", url)
        assert match, url
        own: dict[str, str] = {}
        values: dict[str, object] = {}
        for part in match[4].split("&"):
            pieces = part.split("=")
            assert len(pieces) == 2, f"the launcher breaks off at {part!r}"
            key, value = pieces
            # it tells a chart's values by the dot, before anything is decoded
            if "." in key and not key.startswith("oidc-spa."):
                assert "[" not in key and "%" not in key and "\\" not in key, key
                values[key] = cls.value(value)
            else:
                own[key] = unquote(value, errors="strict")
        return cls(match[1], match[2], match[3], own, values)

    @staticmethod
    def value(text: str) -> object:
        if text in ("true", "false"):
            return text == "true"
        assert text not in ("null", "-"), "a value would be emptied or removed"
        # JavaScript's parseFloat: a number at the start, whatever follows
        number = re.match(r"\s*([-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?Infinity)", text)
        if number:
            return float(number[1])
        quoted = re.fullmatch(r"«([^»]*)»", unquote(text, errors="strict"))
        assert quoted, f"the launcher breaks off at {text!r}"
        return quoted[1]


def arrives(arguments: list[str], folder: Path) -> list[list[str]]:
    """What the init script gets of each line: out of the chart's YAML, split by a real shell."""
    variables = []
    for line in arguments:
        manifest = f"env:\n  - name: PERSONAL_INIT_ARGS\n    value: {line}\n  - name: NEXT\n"
        (variable, following) = yaml.safe_load(manifest)["env"]
        assert following == {"name": "NEXT"}, line
        assert isinstance(variable["value"], str), f"Kubernetes refuses {variable['value']!r}"
        variables.append(variable["value"])
    done = subprocess.run(
        ["bash", "-c", "while IFS= read -r line; do printf '%s\\0' $line; echo; done"],
        cwd=folder,
        env={"LC_ALL": "C.UTF-8"},
        input="".join(f"{value}\n" for value in variables).encode(),
        capture_output=True,
        check=True,
    )
    return [line.split("\0")[:-1] for line in done.stdout.decode().splitlines()]


TEXTS = [
    "", "plain", "with spaces", "à côté", "it's", 'say "no"', "a&b", "a=b", "«open", "100%", "a+b",
    "a#b", "a?b/c", "5Gi", "42", "1e3", "-1", ".5", "true", "false", "null", "-", "Infinity", "NaN",
    "two\nlines", "%C2%BB", "a;b", "日本", "https://h/p?q=1&r=2",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_as_the_same_text(text: str) -> None:
    given = settings(values={"a.b": text, "c.d": True})
    for entry in entries(given, "notebooks/x_y")[:1]:
        assert Launcher.open(entry.url).values["a.b"] == text
        assert Launcher.open(entry.url).values["c.d"] is True


@pytest.mark.parametrize("value", [True, False, 0, 1, -3, 4.5, 1e-7, 2**53, 0.1])
def test_a_truth_value_or_number_arrives_as_one(value: float) -> None:
    got = Launcher.value(encoded(value))
    assert got == value
    assert isinstance(got, bool) == isinstance(value, bool)


def test_a_notebook_may_have_a_chart_and_values_of_its_own() -> None:
    notebooks = {"x_y": {"charts": {next(iter(SERVICES)): "spark"}, "values": {"a.b": "own"}}}
    given = settings(values={"a.b": "usual"}, notebooks=notebooks)
    own, usual = (entries(given, f"notebooks/{name}")[0] for name in ("x_y", "z"))
    assert own[:3] == usual[:3]  # id, title and icon are those of the service
    assert Launcher.open(own.url).chart == "spark"
    assert Launcher.open(own.url).values["a.b"] == "own"
    assert Launcher.open(usual.url).chart == next(iter(SERVICES))
    assert Launcher.open(usual.url).values["a.b"] == "usual"


@pytest.mark.parametrize("value", ["a»b", math.inf, 2**53 + 1, [1], None])
def test_a_value_that_no_link_can_carry_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"launch_values\['a\.b'\]: .*True or false, a number"):
        settings(values={"a.b": value})


def test_what_is_not_a_number_is_in_no_link() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encoded(math.nan)


@pytest.mark.parametrize(
    "name", ["with spaces", "à côté", 'say "no"', "a&b=c", "a»b", "42", "true", "5Gi", "50%", "a+b"]
)
def test_the_service_s_name_is_shown_as_it_is(name: str) -> None:
    for entry in entries(settings(service_name=name), "notebooks/x_y")[:2]:
        got = Launcher.open(entry.url)
        assert got.own == {"autoLaunch": "true", "name": name}


GOOD = [
    "13_parquet", "01_numpy", "01_code", "02_face", "x", "x-1", "été", "a.b", "03-s3", "v1", "a=b",
    "manip 01_numpy", "17_s3 --solutions", "x --repository https://h/g/n --version v1.0", "nothing",
]  # fmt: skip
#: What is not a text in YAML without quotes: for PyYAML, or for Go's parser only.
BAD = {
    "a number": [
        "1", "01", "1.5", "1.", "1_000", "0x1F", "0_x_1F", "0b1", "0o17", "1e3", "12E-3", "01_e5",
    ],
    "a date": ["2024-01-31", "2024-1-1"],
    "a truth value or nothing": ["no", "No", "yes", "on", "OFF", "y", "N", "true", "False", "Null"],
    "no word first": ["", " a", "-a", "--help", ".inf", "_1", "a ", "a  b", "a\n"],
}  # fmt: skip


@pytest.mark.parametrize("arguments", GOOD)
def test_good_arguments_arrive_at_the_script(arguments: str, tmp_path: Path) -> None:
    assert arrive_unchanged(arguments)
    assert arrives([arguments], tmp_path) == [arguments.split(" ")]


@pytest.mark.parametrize("kind", BAD)
def test_arguments_that_might_arrive_changed_are_refused(kind: str) -> None:
    assert [arguments for arguments in BAD[kind] if arrive_unchanged(arguments)] == []


def test_letters_digits_and_few_marks_are_let_through() -> None:
    others = "\u200b\u00a0\u0301»…"
    passed = {mark for mark in string.printable + others if arrive_unchanged(f"a{mark}b")}
    assert passed == set(string.ascii_letters + string.digits + "_-./= ")


def test_no_argument_that_a_chart_or_a_shell_changes_is_let_through(tmp_path: Path) -> None:
    for name in ("a", "x1", "n"):
        (tmp_path / name).touch()  # a shell replaces patterns by the files they fit
    alphabet = "01exno_-.:/= #*'~a"
    texts = ["".join(letters) for letters in itertools.product(alphabet, repeat=3)]
    passed = [text for text in texts if arrive_unchanged(text)]
    assert len(passed) > 500
    assert arrives(passed, tmp_path) == [text.split(" ") for text in passed]


# -- the settings -----------------------------------------------------------------

SERVICES = {
    "jupyter-python": {"title": "Jupyter", "script": "init/jupyter.sh"},
    "vscode-python": {"title": "VSCode", "script": "init/vscode.sh"},
}
LAB = {"title": "Lab", "address": "https://onyxia.example.org"}


def settings(**options: Any) -> dict[str, Any]:
    given = {
        "repository": "https://github.com/example/course",
        "version": "v1.0",
        "services": SERVICES,
        "instances": {"lab": LAB},
    }
    return read(given | options)


MOVING = ["main", "master", "HEAD", "Latest", "develop", "gh-pages", "stable", "feature/x", "1.x"]
NO_VERSION = [
    "",
    "v",
    "abc1234",
    "deadbeef1",
    "refs/tags/v1",
    "v1 0",
    "v1..0",
    "-1",
    "new",
    "A" * 40,
]


@pytest.mark.parametrize("version", MOVING + NO_VERSION)
def test_a_branch_or_half_a_commit_is_no_version(version: str) -> None:
    with pytest.raises(ConfigError, match="launch_version") as error:
        settings(version=version)
    assert "v1.0" in str(error.value)


@pytest.mark.parametrize("version", ["v1.0", "1.2.3", "2026.09", "v2-rc1", "course-2", "0af9" * 10])
def test_a_tag_or_a_whole_commit_is_a_version(version: str) -> None:
    link = entries(settings(version=version), "x_y")[0]
    assert f"/course/{version}/init/" in str(Launcher.open(link.url).values["init.personalInit"])


RAW = {
    ("https://github.com/a/b", ""): "https://raw.githubusercontent.com/a/b/v1.0/",
    ("https://github.com/a/b.git", ""): "https://raw.githubusercontent.com/a/b/v1.0/",
    ("https://github.com/a/b/", ""): "https://raw.githubusercontent.com/a/b/v1.0/",
    ("https://gitlab.com/a/b/c", ""): "https://gitlab.com/a/b/c/-/raw/v1.0/",
    ("https://git.example.org/a/b", "gitlab"): "https://git.example.org/a/b/-/raw/v1.0/",
    ("https://git.example.org/a/b", "github"): "https://git.example.org/a/b/raw/v1.0/",
}


@pytest.mark.parametrize(("address", "forge"), RAW)
def test_scripts_come_from_the_raw_address_of_the_forge(address: str, forge: str) -> None:
    given = settings(repository=address, **({"forge": forge} if forge else {}))
    for entry in entries(given, "x_y")[:2]:
        script = SERVICES[entry.id]["script"]
        expected = RAW[address, forge] + script
        assert Launcher.open(entry.url).values["init.personalInit"] == expected


WRONG = {
    "no repository": ({"repository": ""}, "launch_repository"),
    "a repository over http": ({"repository": "http://github.com/a/b"}, "launch_repository"),
    "a key in the address": ({"repository": "https://u:k@github.com/a/b"}, "launch_repository"),
    "no version": ({"version": ""}, "launch_version"),
    "an owner only": ({"repository": "https://github.com/a"}, "OWNER/NAME"),
    "a page of a repository": ({"repository": "https://github.com/a/b/tree"}, "OWNER/NAME"),
    "an unknown forge": ({"repository": "https://git.example.org/a/b"}, "launch_forge"),
    "no address": (
        {"instances": {"lab": {"title": "Lab"}}},
        "launch_instances['lab']['address'] is missing. The address of its front page",
    ),
    "an address with a query": (
        {"instances": {"lab": LAB | {"address": "https://h/?a"}}},
        "launch_instances['lab']['address']: 'https://h/?a' does not fit",
    ),
    "an unknown service": ({"instances": {"lab": LAB | {"services": ["r"]}}}, "'r'"),
    "a misspelt field": (
        {"instances": {"lab": LAB | {"catalog": "ide"}}},
        "launch_instances['lab']['catalog'] is no option; there are title, address, catalogue",
    ),
    "an id with a slash": ({"instances": {"lab": LAB | {"catalogue": "a/b"}}}, "catalogue"),
    "no script": ({"services": {"x": {"title": "X"}}}, "launch_services['x']['script'] is missing"),
    "a script outside": (
        {"services": {"x": {"title": "X", "script": "../x.sh"}}, "instances": {}},
        "launch_services['x']['script']: '../x.sh' does not fit",
    ),
    "a value without a dot": ({"values": {"name": "x"}}, "launch_values: 'name' does not fit"),
    "a value in a list": ({"values": {"a.b[0]": "x"}}, "launch_values: 'a.b[0]'"),
    "a value of an instance": (
        {"instances": {"lab": LAB | {"values": {"a.b": "»"}}}},
        "launch_instances['lab']['values']['a.b']: '»' does not fit",
    ),
    "the script as a value": ({"values": {"init.personalInit": "x"}}, "init.personalInit"),
    "a list for a set": ({"instances": []}, "launch_instances: [] does not fit"),
    "a number for a text": ({"version": 1.0}, "launch_version: 1.0 does not fit. A tag"),
    "a number in a list": ({"pages": [1]}, "launch_pages[0]: 1 does not fit. 1 is not of type 's"),
    "an instance that is a text": (
        {"instances": {"lab": "x"}},
        "launch_instances['lab']: 'x' does",
    ),
    "a chart for an unknown service": (
        {"notebooks": {"52": {"charts": {"r": "spark"}}}},
        "launch_notebooks['52']['charts']: 'r' does not fit. launch_services lacks it",
    ),
    "a number for a path": ({"values": {1: "x"}}, "launch_values: 1 does not fit. A path"),
    "a misspelt option": ({"versions": "v1"}, "launch_versions is no option"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named(case: str) -> None:
    options, words = WRONG[case]
    with pytest.raises(ConfigError, match=re.escape(words)):
        settings(**options)


@pytest.mark.parametrize("option", ["repository", "version"])
def test_an_option_that_is_left_out_is_named(option: str) -> None:
    given = {"repository": "https://github.com/a/b", "version": "v1"}
    del given[option]
    with pytest.raises(ConfigError, match=f"launch_{option} is missing. (A|The) "):
        read(given)


def test_every_option_has_an_explanation_and_a_default_that_is_allowed() -> None:
    needed = {"repository": "https://github.com/a/b", "version": "v1"}
    defaults = {name: one["default"] for name, one in OPTIONS.items() if "default" in one}
    assert read(needed) == read(needed | defaults) == needed | defaults | {"forge": "github"}
    assert all(option["description"] for option in OPTIONS.values())


@pytest.mark.parametrize(
    ("owner", "stand_in"),
    [("your_institution", True), ("a.b", True), ("a" * 40, True), ("a-b", False), ("A9", False)],
)
def test_an_owner_that_cannot_publish_on_github_is_a_stand_in(owner: str, stand_in: bool) -> None:
    given = settings(repository=f"https://github.com/{owner}/course")
    assert bool(note(given)) == stand_in


# -- a built book -----------------------------------------------------------------


class Link(NamedTuple):
    """A link of a page: in the launch menu, or a badge among the text."""

    url: str
    text: str
    menu: bool
    badge: bool


class Links(HTMLParser):
    """The links of a page, and its text outside of the navigation."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[Link] = []
        self.menu = self.download_menu = False
        self.open: list[str | None] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        classes = values.get("class", "").split()
        if "dropdown" in classes:
            self.menu = "dropdown-launch-buttons" in classes
            self.download_menu = "dropdown-download-buttons" in classes
        if tag == "article":
            self.menu = self.download_menu = False
        if tag == "a" and values.get("href"):
            in_menu = "dropdown-item" in classes
            badge = "launch-badge" in classes
            text = values.get("title", "")
            if (in_menu and self.menu) or badge:
                self.found.append(Link(values["href"], text, in_menu and self.menu, badge))
            elif in_menu and self.download_menu:
                self.found.append(Link(values["href"], text, False, False))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def build(program: list[str], source: Path) -> subprocess.CompletedProcess[str]:
    name, *arguments = program
    return subprocess.run(
        [Path(sys.executable).with_name(name), *arguments],
        cwd=source,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The course's book, its cells not run, and what its build said."""
    source = tmp_path_factory.mktemp("course")
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    still = config.replace("execute_notebooks: cache", 'execute_notebooks: "off"')
    assert still != config
    # only a run tells what language a cell is in
    still = still.replace("[misc.highlighting_failure]", "[misc, myst-nb.lexer]")
    # the book of a class; the other one is built by test_book.py
    still = still.replace("show_solutions: true", "show_solutions: false")
    (source / "_config.yml").write_text(still, encoding="utf-8")
    shutil.copy(ROOT / "_toc.yml", source)
    for name in ("book", "notebooks", "init-scripts"):
        ignore = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    done = build(["jupyter-book", "build", ".", "-W", "-n", "--keep-going"], source)
    assert done.returncode == 0, done.stdout
    yield source / "_build" / "html", done.stdout


CHAPTERS = badges.chapters(ROOT)
SCRIPTS = {"jupyter-python": "init-jupyter.sh", "vscode-python": "init-vscode.sh"}


def test_there_are_chapters() -> None:
    assert "notebooks/13_parquet" in CHAPTERS
    assert sorted(CHAPTERS) == sorted(f"notebooks/{p.stem}" for p in ROOT.glob("notebooks/*.ipynb"))


def meant(chapter: str, chart: str) -> Launcher:
    """What a link of the course is to say, put together by hand."""
    raw = REPOSITORY.replace("https://github.com", "https://raw.githubusercontent.com")
    name = chapter.removeprefix("notebooks/")
    own = {"autoLaunch": "true", "name": name}
    values = {
        "init.personalInit": f"{raw}/{VERSION}/init-scripts/{SCRIPTS[chart]}",
        "init.personalInitArgs": name,
        "vault.enabled": False,
        "kubernetes.enabled": name == "52_a_cluster",
    }
    if name == "52_a_cluster":  # the workers of Spark are containers of their own
        chart = chart.replace("-python", "-pyspark")
    return Launcher(ONYXIA, "ide", chart, own, values)


@pytest.mark.parametrize("where", ["menu", "badge"])
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_of_the_book_opens_in_four_ways(
    course: tuple[Path, str], chapter: str, where: str, tmp_path: Path
) -> None:
    page = course[0] / f"{chapter}.html"
    urls = [link.url for link in Links(page).found if getattr(link, where)]
    urls = [url for url in urls if url != "#launch-note"]
    jupyter, vscode, github, download = urls
    for url, chart in ((jupyter, "jupyter-python"), (vscode, "vscode-python")):
        assert Launcher.open(url) == meant(chapter, chart)
        arguments = str(Launcher.open(url).values["init.personalInitArgs"])
        assert arrives([arguments], tmp_path) == [[Path(chapter).name]]
        assert "s3" not in Launcher.open(url).own
    assert github == f"{REPOSITORY}/blob/{VERSION}/{chapter}.ipynb"
    assert (page.parent / download).resolve().is_file()


def test_the_badges_of_the_start_page_open_the_first_unit_of_each_path(
    course: tuple[Path, str],
) -> None:
    page = (course[0] / "book" / "index.html").read_text(encoding="utf-8")
    launched = [Launcher.open(link.url) for link in badges_in(page) if "/launcher/" in link.url]
    first = [linked(row[0])[0] for row in rendered(badges.TABLES[1])]
    assert len(first) == 7
    assert launched == [meant(chapter, chart) for chapter in first for chart in SCRIPTS]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_download_is_the_student_s_edition_and_offered_once(
    course: tuple[Path, str], chapter: str
) -> None:
    page = course[0] / f"{chapter}.html"
    links = [link for link in Links(page).found if link.url.endswith((".ipynb", ".zip"))]
    local = {link.url for link in links if not link.url.startswith("https:")}
    assert len(local) == 1, "the theme's own download would bring the solutions"
    name = Path(chapter).name
    with zipfile.ZipFile((page.parent / local.pop()).resolve()) as archive:
        files = {entry.removeprefix(f"{name}/") for entry in archive.namelist()}
        got = nbformat.reads(archive.read(f"{name}/{name}.ipynb"), as_version=4)
    shown = re.findall(r"\]\((images/[^)]*)\)", "\n".join(cell.source for cell in got.cells))
    assert {"course/__init__.py", "course/bucket.py", "course/packages.py", *shown} <= files
    source = nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4)
    nbformat.validate(got)
    solutions = 0
    for mine, theirs in zip(source.cells, got.cells, strict=True):
        stub = mine.metadata.get("course", {}).get("stub")
        solutions += stub is not None
        meant = mine.source if stub is None else "".join(stub)
        assert theirs.source.replace(FOLDED, "") == meant
        assert "course" not in theirs.metadata
    assert solutions


def test_a_stand_in_for_the_address_is_said_once_on_the_log_and_on_each_page(
    course: tuple[Path, str],
) -> None:
    site, log = course
    said = note(badges.settings_of(ROOT))
    assert log.count("launch links of this copy do not work yet") == bool(said)
    for chapter in CHAPTERS:
        page = Links(site / f"{chapter}.html")
        text = " ".join(" ".join(page.words).split())
        assert (said in text) == bool(said)
        warned = [link for link in page.found if link.url == "#launch-note" and link.menu]
        assert len(warned) == bool(said)


def test_a_book_without_solutions_has_them_nowhere(course: tuple[Path, str]) -> None:
    site = course[0]
    stored = [path for path in site.rglob("*") if path.suffix in (".html", ".js", ".ipynb")]
    text = "".join(path.read_text(encoding="utf-8") for path in stored)
    assert "Show the check" in text
    shown = "".join(path.read_text(encoding="utf-8") for path in site.glob("notebooks/*.html"))
    assert "Show the solution" not in shown
    lines, told = set(), ""
    for chapter in CHAPTERS:
        for cell in nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells:
            if "solution" in cell.metadata.get("tags", []):
                lines |= {line.strip() for line in cell.source.splitlines()}
                told += "".join(cell.metadata["course"]["stub"])
            else:  # a hint, or a cell of any chapter, may give a line away
                told += cell.source + "\n"
    lines = {line for line in lines if line not in told}
    # Only what a notebook file would hold as it is; pages colour and escape their code.
    telling = [line for line in lines if len(line) > 25 and not set(line) & set("\\\"<>&'")]
    assert len(telling) > 5
    plain = html.unescape(re.sub(r"<[^>]+>", "", text))
    assert [line for line in telling if line in plain] == []


def test_pages_that_are_no_notebook_have_no_launch_menu(course: tuple[Path, str]) -> None:
    assert not [link for link in Links(course[0] / "book" / "glossary.html").found if link.menu]


def test_every_script_that_links_name_is_in_the_repository() -> None:
    for service in CONFIG["sphinx"]["config"]["launch_services"].values():
        assert (ROOT / service["script"]).is_file(), service["script"]


# -- what instructors are told -----------------------------------------------------


def test_the_settings_that_instructors_are_shown_make_the_links_they_expect() -> None:
    text = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    shown = [yaml.safe_load(textwrap.dedent(block)) for block in blocks]
    options: dict[str, Any] = {}
    for block in shown:
        options |= block.get("sphinx", {}).get("config", {})
    assert options.pop("show_solutions") is False
    assert options.pop("launch_forge") == "gitlab"
    repository = shown[0]["repository"]
    given = read(
        {name.removeprefix("launch_"): value for name, value in options.items()}
        | {"repository": repository["url"], "version": repository["branch"]}
    )
    opened = [Launcher.open(entry.url) for entry in entries(given, "x_y") if entry.instance]
    assert [(link.instance, link.chart) for link in opened] == [
        (ONYXIA, "jupyter-python"),
        (ONYXIA, "vscode-python"),
        ("https://onyxia.example.org", "jupyter-python"),
    ]
    assert opened[2].values["resources.requests.memory"] == "2Gi"
    assert opened[0].values["vault.enabled"] is False


# -- the tables of badges ---------------------------------------------------------


class Badge(NamedTuple):
    """A picture that is a link."""

    url: str
    title: str
    alt: str
    picture: str


def badges_in(page: str) -> list[Badge]:
    found = re.findall(r"<a ([^>]*)>\s*<img ([^>]*)>\s*</a>", page)
    attributes = [dict(re.findall(r'(\w+)="([^"]*)"', " ".join(tags))) for tags in found]
    names = ("href", "title", "alt", "src")
    return [Badge(*(html.unescape(one.get(name, "")) for name in names)) for one in attributes]


def rendered(table: badges.Table, project: Path = ROOT) -> list[tuple[str, str]]:
    """The rows of a table as CommonMark and GitHub make them: without its last cell, and that."""
    text = badges.written(project, table).partition(badges.BEGIN)[2].partition(badges.END)[0]
    page = MarkdownIt("commonmark").enable("table").render(text)
    rows = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in page.split("<tr>")]
    return [("".join(row[:-1]), row[-1]) for row in rows if row]


def linked(text: str) -> list[str]:
    """The notebooks that are linked, as `_toc.yml` names them."""
    return re.findall(r'href="[./]*(notebooks/\w+)\.ipynb"', text)


@pytest.mark.parametrize("table", badges.TABLES, ids=lambda table: table.file)
def test_a_table_of_badges_is_as_make_badges_writes_it(table: badges.Table) -> None:
    text = (ROOT / table.file).read_text(encoding="utf-8")
    assert text == badges.written(ROOT, table), "run `make badges`"
    for row, cell in rendered(table):
        chapter = linked(row)[0]
        found = badges_in(cell)
        launched = [Launcher.open(badge.url) for badge in found if "/launcher/" in badge.url]
        assert launched == [meant(chapter, chart) for chart in SCRIPTS]
        assert "][" not in re.sub("<[^>]*>", "", cell), "a reference that nothing defines"
        for badge in found:
            assert (ROOT / table.file).parent.joinpath(badge.picture).resolve().is_file()
            assert badge.alt and badge.title.endswith(badges.title_of(ROOT / f"{chapter}.ipynb"))


def test_the_readme_has_a_row_for_each_notebook_with_its_title() -> None:
    rows = [html.unescape(re.sub("<[^>]*>", "", row)) for row, _ in rendered(badges.TABLES[0])]
    titles = [badges.title_of(ROOT / f"{chapter}.ipynb") for chapter in CHAPTERS]
    numbers = [int(Path(chapter).name.partition("_")[0]) for chapter in CHAPTERS]
    assert rows == [f"{number} {title}" for number, title in zip(numbers, titles, strict=True)]


@pytest.mark.parametrize("table", badges.TABLES, ids=lambda table: table.file)
def test_the_source_of_a_table_can_be_read(table: badges.Table) -> None:
    text = badges.written(ROOT, table).partition(badges.BEGIN)[2].partition(badges.END)[0]
    lines = re.sub(r"\]\([^)]*\)", "]", text).splitlines()
    assert max(len(line) for line in lines if line.startswith("|")) <= 250


@pytest.mark.parametrize("text", ["Éducation & Co", 'say "no"', "R_Studio_x", "a [b] | `c` *d* \\"])
def test_a_name_with_marks_of_markdown_makes_a_badge(text: str) -> None:
    label = badges.as_label(text)
    definitions = f'[{label}]: p.svg\n[1]: u "{badges.as_title(text)}"'
    source = f"| x |\n|---|\n| [![{label}]][1] |\n\n{definitions}\n"
    (badge,) = badges_in(MarkdownIt("commonmark").enable("table").render(source))
    assert (badge.url, badge.title, badge.picture) == ("u", text, "p.svg")
    # the parser of the book drops what is escaped in the description of a picture
    assert badge.alt == re.sub(r"[][|`*\\]", "", text)


def badge_course(source: Path) -> Path:
    for name in ("_config.yml", "_toc.yml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("book", "notebooks"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    return source


def test_make_badges_follows_the_version_and_may_run_twice(tmp_path: Path) -> None:
    source = badge_course(tmp_path)
    config = source / "_config.yml"
    config.write_text(config.read_text().replace(f"&version {VERSION}", "&version v9.9"))

    def run() -> str:
        program = [sys.executable, "book/_ext/badges.py"]
        return subprocess.run(
            program, cwd=source, capture_output=True, text=True, check=True
        ).stdout

    assert run() == "README.md: written\nbook/index.md: written\n"
    assert "v9.9%2Finit-scripts" in (source / "README.md").read_text(encoding="utf-8")
    assert run() == "README.md: up to date\nbook/index.md: up to date\n"


def test_a_table_tells_two_instances_apart(tmp_path: Path) -> None:
    source = badge_course(tmp_path)
    config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["config"]["launch_instances"]["lab"] = LAB | {"services": ["jupyter-python"]}
    (source / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    cell = rendered(badges.TABLES[1], source)[0][1]
    ssp_cloud, lab = cell.split("<br />") if "<br />" in cell else cell.split("<br>")
    assert ssp_cloud.startswith("SSP Cloud: <a ") and lab.startswith("Lab: <a ")
    assert [Launcher.open(badge.url).instance for badge in badges_in(ssp_cloud)] == [ONYXIA] * 2
    (badge,) = badges_in(lab)
    assert (badge.alt, Launcher.open(badge.url).instance) == (
        "Open in Jupyter (Lab)",
        LAB["address"],
    )


def test_make_badges_refuses_a_row_that_names_no_notebook(tmp_path: Path) -> None:
    source = badge_course(tmp_path)
    readme = source / "README.md"
    readme.write_text(readme.read_text().replace("(notebooks/13_parquet.ipynb)", "(13_gone.ipynb)"))
    done = subprocess.run(
        [sys.executable, "book/_ext/badges.py"], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "README.md: no notebook of _toc.yml is linked in this row: | 13 [" in done.stderr


def test_make_badges_without_a_place_says_so_and_writes_nothing(tmp_path: Path) -> None:
    source = badge_course(tmp_path)
    (source / "book" / "index.md").write_text("# Start\n")
    before = (source / "README.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "book/_ext/badges.py"], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "book/index.md has no place for the badges" in done.stderr
    assert "Traceback" not in done.stderr
    assert (source / "README.md").read_text(encoding="utf-8") == before


# -- another course ---------------------------------------------------------------

OTHER = """
import sys
sys.path.insert(0, "ext")
project = "Cours"
extensions = ["myst_nb", "onyxia_launch"]
html_theme = "sphinx_book_theme"
nb_execution_mode = "off"
launch_repository = "https://gitlab.example.org/group/unit/statistics"
launch_version = "2027.1"
launch_folder = "docs"
launch_services = {
    "rstudio": {"title": "RStudio", "script": "start.sh"},
    "jupyter-pyspark": {"title": "Spark", "script": "init/spark.sh", "icon": "fas fa-bolt"},
}
launch_instances = {
    "one": {"title": "Éducation & Co", "address": "https://one.example.org"},
    "two": {
        "title": "Two", "address": "https://two.example.org/", "catalogue": "course",
        "services": ["rstudio"], "values": {"resources.cpu": 2, "git.enabled": True},
    },
}
launch_values = {"git.enabled": False, "persistence.size": "5Gi", "resources.share": 0.5}
launch_service_name = "Cours d'été: {name} & plus"
launch_arguments = "open {name}"
launch_pages = ["*"]
"""


def notebook(path: Path, title: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_markdown_cell(f"# {title}"), nbformat.v4.new_code_cell("1 + 1")]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def other_course(source: Path, *names: str) -> Path:
    (source / "ext").mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    package = ROOT / "book" / "_ext" / "onyxia_launch"
    shutil.copytree(package, source / "ext" / "onyxia_launch", ignore=ignore)
    (source / "conf.py").write_text(OTHER, encoding="utf-8")
    listed = "\n".join(names)
    (source / "index.md").write_text(
        "# Cours\n\n```{launch} /été\n:only: rstudio, forge, download\n```\n\n"
        f"```{{toctree}}\n{listed}\n```\n",
        encoding="utf-8",
    )
    for name in names:
        notebook(source / f"{name}.ipynb", name)
    return source


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    source = other_course(tmp_path_factory.mktemp("other"), "été", "part/02-table")
    done = build(["sphinx-build", "-W", "-n", "-b", "html", ".", "out"], source)
    assert done.returncode == 0, done.stdout
    return source / "out", done.stdout


@pytest.mark.parametrize("page", ["été", "part/02-table"])
def test_another_course_has_its_own_links(other: tuple[Path, str], page: str) -> None:
    links = [link for link in Links(other[0] / f"{page}.html").found if link.menu]
    *onyxia, gitlab, download = links
    name = Path(page).name
    everywhere = {
        "init.personalInitArgs": f"open {name}",
        "git.enabled": False,
        "persistence.size": "5Gi",
        "resources.share": 0.5,
    }
    raw = "https://gitlab.example.org/group/unit/statistics/-/raw/2027.1"
    own = {"autoLaunch": "true", "name": f"Cours d'été: {name} & plus"}
    r = everywhere | {"init.personalInit": f"{raw}/start.sh"}
    spark = everywhere | {"init.personalInit": f"{raw}/init/spark.sh"}
    more = {"git.enabled": True, "resources.cpu": 2}
    assert [Launcher.open(link.url) for link in onyxia] == [
        Launcher("https://one.example.org", "ide", "rstudio", own, r),
        Launcher("https://one.example.org", "ide", "jupyter-pyspark", own, spark),
        Launcher("https://two.example.org", "course", "rstudio", own, r | more),
    ]
    blob = "https://gitlab.example.org/group/unit/statistics/-/blob/2027.1/docs"
    assert unquote(gitlab.url) == f"{blob}/{page}.ipynb"
    stored = (other[0] / page).parent / unquote(download.url)
    assert nbformat.read(stored, as_version=4).cells[0].source == f"# {page}"


def test_a_badge_may_stand_on_another_page_and_name_some_entries(other: tuple[Path, str]) -> None:
    links = [link for link in Links(other[0] / "index.html").found if link.badge]
    assert [link.text for link in links] == [
        "Open in RStudio (Éducation & Co)",
        "Open in RStudio (Two)",
        "Open on GitLab",
        "Download the notebook",
    ]
    assert (other[0] / unquote(links[-1].url)).is_file()


def test_nothing_of_this_course_is_in_another(other: tuple[Path, str]) -> None:
    site, log = other
    assert "onyxia_launch:" not in log
    pages = [site / "index.html", site / "été.html", site / "part" / "02-table.html"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for word in ("sspcloud", "data-in-the-cloud", REPOSITORY, "launch-note", "colab.research"):
            assert word not in text, f"{page.name}: {word}"


@pytest.mark.parametrize("name", ["01", "two words"])  # more of them above
def test_a_notebook_whose_name_would_arrive_changed_stops_the_build(
    tmp_path: Path, name: str
) -> None:
    source = other_course(tmp_path, "été", name)
    conf = source / "conf.py"
    plain = conf.read_text(encoding="utf-8").replace('"open {name}"', '"{name}"')
    # it stops before a cell is run
    plain = plain.replace('nb_execution_mode = "off"', 'nb_execution_mode = "force"')
    conf.write_text(plain, encoding="utf-8")
    done = build(["sphinx-build", "-b", "html", ".", "out"], source)
    assert done.returncode != 0
    assert f"{name}.ipynb: " in done.stdout
    assert "été.ipynb" not in done.stdout
    assert "Traceback" not in done.stdout


def test_a_branch_stops_the_build(tmp_path: Path) -> None:
    source = other_course(tmp_path, "été")
    conf = source / "conf.py"
    conf.write_text(conf.read_text(encoding="utf-8").replace("2027.1", "main"), encoding="utf-8")
    done = build(["sphinx-build", "-b", "html", ".", "out"], source)
    assert done.returncode != 0
    assert "launch_version: 'main' does not fit. A tag" in done.stdout


def test_a_badge_for_an_unknown_page_is_a_warning(tmp_path: Path) -> None:
    source = other_course(tmp_path, "x_y")  # the start page still asks for another one
    done = build(["sphinx-build", "-W", "-b", "html", ".", "out"], source)
    assert done.returncode != 0
    assert "index.md" in done.stdout and "nothing to launch" in done.stdout
