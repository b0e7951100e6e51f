"""The init scripts as Onyxia runs them, on real Git repositories and in a real JupyterLab.

Onyxia's runner is `curl $PERSONAL_INIT_SCRIPT | bash -s -- $PERSONAL_INIT_ARGS` in the work
folder, before the service starts; it ignores how that ends (images-datascience,
base/scripts/onyxia-init.sh). Here curl reads the script of this checkout, and Git's own
`url.<base>.insteadOf` leads the https addresses to repositories on this machine.
"""

from __future__ import annotations

import functools
import http.client
import http.server
import json
import os
import pwd
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
import yaml

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "init-scripts"
sys.path.append(str(SCRIPTS))
import jsonc  # noqa: E402
from student_edition import FOLDED, FOLDERS  # noqa: E402

from tests.laptop import wait_until  # noqa: E402

CHAPTERS = sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))
CHAPTER = "12_text_files"
RAW = "https://raw.githubusercontent.com"
STUDENT = 1000  # the user of the images
AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can become another user or mount")
#: All that the scripts call, beside Python.
TOOLS = ["bash", "curl", "git", "grep", "cat", "chown", "id", "mkdir", "mktemp", "mv", "rm"]
TOOLS += ["sleep", "stat", "timeout"]
SERVICES = ["jupyter", "vscode"]
CHROMIUM = ["/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"]


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@t.invalid", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *settings, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


# -- the course, published ----------------------------------------------------------


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that every user of the machine may read, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="init-scripts-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Course:
    """The repository of the course, and its versions."""

    sources: Path
    bare: Path

    def publish(self, version: str, change: Callable[[Path], None] = lambda _: None) -> str:
        """Tag the present files, changed, as a version; gives the commit."""
        git(self.sources, "checkout", "--quiet", "--force", "main")
        change(self.sources)
        git(self.sources, "add", "--all")
        git(self.sources, "commit", "--quiet", "--allow-empty", "--message", version)
        commit = git(self.sources, "rev-parse", "HEAD")
        git(self.sources, "push", "--quiet", "--force", str(self.bare), f"HEAD:refs/tags/{version}")
        git(self.sources, "reset", "--quiet", "--hard", "HEAD~1")
        return commit

    def commit(self, version: str) -> str:
        return git(self.bare, "rev-parse", version)


@pytest.fixture(scope="session")
def course(place: Path) -> Course:
    """The files of this checkout, published as v1 at two addresses."""
    sources, bare = place / "sources", place / "origin" / "owner" / "course.git"
    listed = ["ls-files", "--cached", "--others", "--exclude-standard"]
    for name in git(ROOT, *listed).splitlines():
        if (ROOT / name).is_file():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, sources / name)
    git(place, "init", "--quiet", "--initial-branch=main", str(sources))
    git(sources, "add", "--all")
    git(sources, "commit", "--quiet", "--message", "the course")
    git(place, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    # what GitHub and GitLab allow: partial clones, and commits by their number
    git(bare, "config", "uploadpack.allowFilter", "true")
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(bare, "config", "http.receivepack", "false")
    git(sources, "push", "--quiet", str(bare), "main")
    (place / "origin" / "owner" / "course").symlink_to(bare)
    (place / "origin" / "group" / "sub").mkdir(parents=True)
    (place / "origin" / "group" / "sub" / "course.git").symlink_to(bare)
    (place / "gitconfig").write_text(
        f'[url "file://{place}/origin/"]\n'
        "insteadOf = https://github.com/\ninsteadOf = https://git.example.org/\n"
        "[safe]\ndirectory = *\n"  # whoever runs the scripts, the repository is the tests'
    )
    made = Course(sources, bare)
    made.publish("v1")
    made.publish("v2", rewrite)
    made.publish("light", without_packages)
    return made


def rewrite(folder: Path) -> None:
    """A new version: every chapter begins with another word."""
    for path in folder.glob("notebooks/*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["cells"][0]["source"].append("\n\nSecond edition.")
        path.write_text(json.dumps(notebook), encoding="utf-8")


def without_packages(folder: Path) -> None:
    """A version that needs none: for a Python without packages, away from any index."""
    for path in folder.glob("notebooks/*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if "course.packages" in "".join(cell["source"]):
                cell["source"] = []
        path.write_text(json.dumps(notebook), encoding="utf-8")


# -- the service --------------------------------------------------------------------

RUNNER = "curl -s $SCRIPT_FILE | bash -s -- $PERSONAL_INIT_ARGS"


@dataclass
class Service:
    """A student's service: its home, its work folder, its environment."""

    work: Path
    home: Path
    path: str
    origin: Path
    script: Path = SCRIPTS
    user: int | None = None
    more: dict[str, str] = field(default_factory=dict)

    def environment(self, version: str = "v1", service: str = "jupyter") -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": self.path,
            "LANG": "en_US.UTF-8",
            "WORKSPACE_DIR": str(self.work),
            "ROOT_PROJECT_DIRECTORY": str(self.work),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "GIT_USER_NAME": "A Student",
            "GIT_CONFIG_GLOBAL": str(self.origin.parent / "gitconfig"),
            "PERSONAL_INIT_SCRIPT": f"{RAW}/owner/course/{version}/init-scripts/init-{service}.sh",
            **self.more,
        }

    def popen(
        self, args: str, version: str = "v1", service: str = "jupyter", **changes: str | None
    ) -> subprocess.Popen[str]:
        """Onyxia's runner; ``changes`` are variables of the environment, None for unset."""
        values = {**self.environment(version, service), "PERSONAL_INIT_ARGS": args, **changes}
        values["SCRIPT_FILE"] = f"file://{self.script}/init-{service}.sh"
        identity = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        return subprocess.Popen(
            [shutil.which("bash") or "bash", "-c", RUNNER],
            cwd=self.work,
            env={name: value for name, value in values.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **identity,
        )

    def start(
        self, args: str = CHAPTER, *words: str, ok: bool = True, **changes: str | None
    ) -> str:
        """What one start says, stdout and stderr; ``ok`` is whether it is to succeed."""
        process = self.popen(args, *words, **changes)
        out, err = process.communicate(timeout=120)
        said = out + err
        assert (process.returncode == 0) == ok, said
        assert not re.search(r"Traceback|unbound|command not found|bash: line", said), said
        return said

    def fails(self, args: str = CHAPTER, *words: str, **changes: str | None) -> str:
        """What the student reads after a start that failed."""
        said = self.start(args, *words, ok=False, **changes)
        note = self.note()
        assert note.startswith("# The course could not be set up\n\n"), said
        return note

    def note(self) -> str:
        return (self.work / "COURSE-SETUP.md").read_text()

    @property
    def notes(self) -> bool:
        return (self.work / "COURSE-SETUP.md").exists()

    def files(self) -> list[str]:
        """What a student sees of the work folder."""
        return sorted(path.name for path in self.work.iterdir() if path.name[0] != ".")

    @property
    def jupyter(self) -> Path:
        return self.home / ".jupyter" / "jupyter_server_config.py"

    @property
    def vscode(self) -> Path:
        return self.home / ".local" / "share" / "code-server" / "User" / "settings.json"

    @property
    def tasks(self) -> Path:
        return self.work / ".vscode" / "tasks.json"

    def new_pod(self) -> None:
        """Pause and resume: the work folder stays, the home is that of the image again."""
        shutil.rmtree(self.home)
        self.home.mkdir()
        if self.user:
            os.chown(self.home, self.user, self.user)


@pytest.fixture
def service(place: Path, course: Course) -> Iterator[Service]:
    folder = Path(tempfile.mkdtemp(dir=place))
    folder.chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    (folder / "work").mkdir()
    (folder / "home").mkdir()
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    made = Service(folder / "work", folder / "home", path, place / "origin")
    made.more["TMPDIR"] = str(folder / "tmp")
    yield made
    left = list((folder / "tmp").iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    assert left == [], "the clone was not removed"


@pytest.fixture
def student(service: Service) -> Service:
    """A service whose work folder is that of user 1000, as in the images."""
    for folder in (service.work, service.home):
        os.chown(folder, STUDENT, STUDENT)
    return service


@pytest.fixture
def unprivileged(student: Service) -> Service:
    """A service that runs as user 1000, with a Python that this user may run."""
    student.user = STUDENT
    student.path = "/usr/bin:/bin"
    student.script = student.origin.parent / "sources" / "init-scripts"
    word = "import sys; sys.exit(sys.version_info < (3, 11))"
    python = shutil.which("python3", path=student.path)
    if python is None or subprocess.run([python, "-c", word]).returncode:
        pytest.skip("no Python 3.11 in /usr/bin, and that of the tests is for this user only")
    return student


# -- what a student finds -----------------------------------------------------------


@pytest.mark.parametrize("kind", SERVICES)
def test_the_course_is_in_the_work_folder(service: Service, kind: str) -> None:
    said = service.start(CHAPTER, "v1", kind)
    notebooks = [f"{name}.ipynb" for name in CHAPTERS]
    assert service.files() == sorted([*notebooks, "README.md", *FOLDERS])
    pictures = {path.name for path in ROOT.glob("notebooks/images/*")}
    assert {path.name for path in service.work.glob("images/*")} == pictures
    for name in notebooks:
        text = (service.work / name).read_text(encoding="utf-8")
        assert "wrong_answers" not in text and "exercise-1-check" in text
    assert "Fetching version v1 of https://github.com/owner/course" in said
    assert f"ready: {CHAPTER}.ipynb" in said


def test_solutions_stay_where_they_are_asked_for(service: Service) -> None:
    service.start(f"{CHAPTER} --solutions")
    source = json.loads((ROOT / "notebooks" / f"{CHAPTER}.ipynb").read_text(encoding="utf-8"))
    found = json.loads((service.work / f"{CHAPTER}.ipynb").read_text(encoding="utf-8"))
    texts = [[line for line in cell["source"] if line != FOLDED] for cell in found["cells"]]
    assert texts == [cell["source"] for cell in source["cells"]]


def test_jupyter_is_told_to_open_the_chapter(service: Service) -> None:
    service.start(f"{CHAPTER}.ipynb")
    assert f'c.LabApp.default_url = "/lab/tree/{CHAPTER}.ipynb"\n' in service.jupyter.read_text()


def test_vscode_is_told_to_open_the_chapter(service: Service) -> None:
    service.start(CHAPTER, "v1", "vscode")
    settings = json.loads(service.vscode.read_text())
    assert settings["task.allowAutomaticTasks"] == "on"
    assert settings["workbench.startupEditor"] == "readme"
    readme = (service.work / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\((\S+)\)", readme)[1:] == [f"{name}.ipynb" for name in CHAPTERS]
    assert f"**[Text files: what a file keeps of a table]({CHAPTER}.ipynb)**" in readme
    assert FOLDED.startswith(re.search("`(# .+)`", readme)[1])  # type: ignore[index]
    found = json.loads(service.tasks.read_text())
    # https://code.visualstudio.com/docs/reference/tasks-appendix
    assert found["version"] == "2.0.0"
    (task,) = found["tasks"]
    assert task["type"] == "process" and task["runOptions"] == {"runOn": "folderOpen"}
    assert Path(task["command"]).is_absolute() and Path(task["command"]).name == "code-server"
    assert task["args"] == ["--reuse-window", "${workspaceFolder}/" + f"{CHAPTER}.ipynb"]
    assert set(task) <= {
        *("label", "type", "command", "args", "presentation"),
        *("problemMatcher", "runOptions"),
    }


# -- where the course comes from ----------------------------------------------------

SOURCES = {
    "a tag at GitHub": f"{RAW}/owner/course/v1/init-scripts/init-jupyter.sh",
    "a tag at GitHub in full": f"{RAW}/owner/course/refs/tags/v1/init-scripts/init-jupyter.sh",
    "a commit at GitHub": f"{RAW}/owner/course/COMMIT/init-scripts/init-jupyter.sh",
    "a tag at GitLab": "https://git.example.org/group/sub/course/-/raw/v1/init-scripts/init-jupyter.sh",
    "a commit at GitLab": "https://git.example.org/group/sub/course/-/raw/COMMIT/"
    "init-scripts/init-jupyter.sh?inline=false",
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_the_address_of_the_script_pins_is_fetched(
    service: Service, course: Course, source: str
) -> None:
    address = SOURCES[source].replace("COMMIT", course.commit("v2"))
    service.start(PERSONAL_INIT_SCRIPT=address)
    text = (service.work / f"{CHAPTER}.ipynb").read_text(encoding="utf-8")
    assert ("Second edition." in text) == ("COMMIT" in SOURCES[source])


def test_options_override_the_address(service: Service) -> None:
    said = service.start(f"{CHAPTER} --version v2")
    assert "version v2 of https://github.com/owner/course" in said
    assert "Second edition." in (service.work / f"{CHAPTER}.ipynb").read_text(encoding="utf-8")
    said = service.start(f"--repository https://git.example.org/group/sub/course.git {CHAPTER}")
    assert "version v1 of https://git.example.org/group/sub/course.git" in said


def test_options_are_enough_without_an_address(service: Service) -> None:
    args = f"{CHAPTER} --repository owner/course --version v1"
    said = service.start(args, PERSONAL_INIT_SCRIPT=None)
    assert "version v1 of https://github.com/owner/course" in said


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        f"{RAW}/owner/course/v1/init-scripts/other.sh",
        f"{RAW}/owner/course/refs/heads/main/init-scripts/init-jupyter.sh",
        f"{RAW}/owner/course/../v1/init-scripts/init-jupyter.sh",
        f"{RAW}/owner/-course/v1/init-scripts/init-jupyter.sh",
        f"{RAW}/owner/course/v1;id/init-scripts/init-jupyter.sh",
        f"{RAW}/owner/course/v1/init-scripts/init-jupyter.sh\nx",
        f"{RAW}.example.org/owner/course/v1/init-scripts/init-jupyter.sh",
        "http://raw.githubusercontent.com/owner/course/v1/init-scripts/init-jupyter.sh",
        "https://me:token@git.example.org/group/course/-/raw/v1/init-scripts/init-jupyter.sh",
        "https://github.com/owner/course/raw/v1/init-scripts/init-jupyter.sh",
        "https://git.example.org/course/-/raw/v1/init-scripts/init-jupyter.sh",
    ],
)
def test_an_address_that_names_no_course_is_refused(service: Service, address: str | None) -> None:
    note = service.fails(PERSONAL_INIT_SCRIPT=address)
    assert "init.personalInit)" in note and "lack --repository and --version." in note
    assert service.files() == ["COURSE-SETUP.md"] and not list(service.home.iterdir())


#: Where a platform may keep a copy of the script, beside its own GitLab.
COPY = "https://store.example.org/my-bucket/course/init-jupyter.sh"


def test_a_copy_on_the_store_of_the_platform_needs_both_options(service: Service) -> None:
    place, version = "--repository https://git.example.org/group/sub/course.git", "--version v2"
    for given, lacking in [("", "--repository and --version"), (place, "--version")]:
        note = service.fails(f"{CHAPTER} {given}", PERSONAL_INIT_SCRIPT=COPY)
        assert f'"{COPY}"' in note and f"lack {lacking}." in note
    note = service.fails(f"{CHAPTER} {version}", PERSONAL_INIT_SCRIPT=COPY)
    assert "lack --repository." in note and "Add --repository to the arguments" in note
    page = (ROOT / "book" / "instructors.md").read_text()
    (line,) = re.findall(r"`(13_parquet --repository \S+ --version \S+)`", page)
    assert as_onyxia_reads(line) == line
    args = line.replace("OWNER/NAME", "owner/course").replace("v1.0", "v2")
    service.start(args, PERSONAL_INIT_SCRIPT=COPY)
    assert "Second edition." in (service.work / "13_parquet.ipynb").read_text(encoding="utf-8")
    assert not service.notes


# -- what launch links pass ---------------------------------------------------------


def as_onyxia_reads(args: str) -> object:
    """The chart writes `value: {{ .Values.init.personalInitArgs }}`, without quotes."""
    return yaml.safe_load(f"env:\n  - name: PERSONAL_INIT_ARGS\n    value: {args}\n")["env"][0][
        "value"
    ]


@pytest.mark.parametrize(
    "args",
    [
        *CHAPTERS,
        f"{CHAPTER} --solutions",
        f"{CHAPTER} --version v1.2.3 --repository owner/course",
        f"{CHAPTER} --version 0123456789abcdef0123456789abcdef01234567",
        f"--repository https://git.example.org:8443/a/b/course.git {CHAPTER} --version 2026.1",
    ],
)
def test_what_links_pass_survives_yaml_and_the_shell(args: str) -> None:
    assert as_onyxia_reads(args) == args
    words = subprocess.run(
        ["bash", "-c", "printf '%s\\n' $PERSONAL_INIT_ARGS"],
        env={"PATH": os.environ["PATH"], "PERSONAL_INIT_ARGS": args},
        capture_output=True,
        text=True,
    )
    assert words.stdout.splitlines() == args.split(" ")


def test_what_yaml_changes_would_be_noticed() -> None:
    assert [as_onyxia_reads(args) for args in ("03", "true", "a #b")] == [3, True, "a"]


# -- arguments ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", SERVICES)
def test_help_tells_everything_and_does_nothing(service: Service, kind: str) -> None:
    said = service.start("--help", "v1", kind, PERSONAL_INIT_SCRIPT=None)
    words = ["--version", "--repository", "--solutions", "--help", "PERSONAL_INIT_SCRIPT"]
    for word in [*words, f"init-{kind}.sh NOTEBOOK", "COURSE-SETUP.md"]:
        assert word in said
    assert not list(service.work.iterdir()) and not list(service.home.iterdir())
    assert max(map(len, said.splitlines())) <= 100


REFUSED = {
    "nothing": ("", "No notebook was named"),
    "a path": ("../12_text_files", "letters, digits"),
    "a path from the root": ("/etc/passwd", "letters, digits"),
    "a path below": ("notebooks/12_text_files", "letters, digits"),
    "dots": ("..", "letters, digits"),
    "a command": ("$(id)", "letters, digits"),
    "a command of old": ("`id`", "letters, digits"),
    "a second command": ("12_text_files;id", "letters, digits"),
    "a pipe": ("12_text_files|id", "letters, digits"),
    "a pattern": ("*x*", "letters, digits"),
    "a quote": ("02'+id()+'", "letters, digits"),
    "a quote of Python": ('02"+id()+"', "letters, digits"),
    "a brace": ("{0.__class__}", "letters, digits"),
    "a backslash": ("12_text_files\\n", "letters, digits"),
    "another alphabet": ("02_parqu\u00e9t", "letters, digits"),
    "a very long name": ("a" * 5000 + "!", "letters, digits"),
    "two chapters": ("12_text_files 13_parquet", "One notebook can be opened"),
    "an unknown option": ("12_text_files --force", 'no option "--force"'),
    "no version": ("12_text_files --version", "--version lacks its value"),
    "an option for a version": ("12_text_files --version --solutions", "--version lacks its value"),
    "a version with a path": ("12_text_files --version ../main", "cannot be a version"),
    "a version that is an option": ("12_text_files --version=-x", "no option"),
    "a version with a colon": ("12_text_files --version v1:refs/heads/x", "cannot be a version"),
    "a local repository": ("12_text_files --repository /etc --version v1", "no repository"),
    "a file": ("12_text_files --repository file:///etc --version v1", "no repository"),
    "a program": ("12_text_files --repository ext::id --version v1", "no repository"),
    "ssh": ("12_text_files --repository git@github.com:a/b --version v1", "no repository"),
    "a password": ("12_text_files --repository https://u:p@github.com/a/b", "no repository"),
    "a repository with dots": ("12_text_files --repository https://h/../a", "no repository"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_argument_is_refused_before_anything_is_touched(
    service: Service, what: str
) -> None:
    args, message = REFUSED[what]
    note = service.fails(args)
    assert message in note
    assert len(note) < 800
    assert service.files() == ["COURSE-SETUP.md"] and not list(service.home.iterdir())


@pytest.mark.parametrize("words", [[""], ["a b"], ["12_text_files\nx"], ["12_text_files", ""]])
def test_an_argument_that_no_shell_splits_is_refused_too(
    service: Service, words: list[str]
) -> None:
    done = subprocess.run(
        ["bash", SCRIPTS / "init-jupyter.sh", *words],
        cwd=service.work,
        env=service.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Fetching" not in done.stdout
    assert service.files() == ["COURSE-SETUP.md"]


def test_an_unknown_chapter_is_refused_with_the_chapters_of_that_version(
    service: Service, course: Course
) -> None:
    course.publish("fewer", lambda folder: (folder / "notebooks" / "13_parquet.ipynb").unlink())
    note = service.fails("13_parquet", "fewer")
    there = [name for name in CHAPTERS if name != "13_parquet"]
    assert re.findall(r"^- (\w+)$", note, re.MULTILINE) == there
    assert service.files() == ["COURSE-SETUP.md"] and not list(service.home.iterdir())


# -- a student's work is never lost -------------------------------------------------


def edit(path: Path) -> bytes:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][-1]["source"] = ["my = 'own'"]
    path.write_text(json.dumps(notebook))
    return path.read_bytes()


@pytest.mark.parametrize("kind", SERVICES)
def test_a_restart_keeps_edited_notebooks_and_updates_the_others(
    service: Service, kind: str
) -> None:
    service.start(CHAPTER, "v1", kind)
    mine = edit(service.work / f"{CHAPTER}.ipynb")
    for version, expected in [("v1", False), ("v2", True), ("v2", True)]:
        service.new_pod()
        service.start(CHAPTER, version, kind)
        assert (service.work / f"{CHAPTER}.ipynb").read_bytes() == mine
        beside = service.work / f"{CHAPTER}.new-version.ipynb"
        assert beside.exists() == expected
        if expected:
            assert "Second edition." in beside.read_text(encoding="utf-8")
        other = (service.work / "13_parquet.ipynb").read_text(encoding="utf-8")
        assert ("Second edition." in other) == expected
        settings = service.jupyter if kind == "jupyter" else service.vscode
        assert settings.exists() and not service.notes


def test_a_readme_and_a_picture_of_the_student_s_own_are_kept(service: Service) -> None:
    (service.work / "README.md").write_text("mine")
    (service.work / "images").mkdir()
    (service.work / "images" / "03_keys.svg").write_text("mine")
    service.start()
    assert (service.work / "README.md").read_text() == "mine"
    assert (service.work / "images" / "03_keys.svg").read_text() == "mine"


def test_a_service_can_be_started_for_another_chapter(service: Service) -> None:
    for kind in SERVICES:
        service.start("12_text_files", "v1", kind)
        service.start("13_parquet", "v1", kind)
    assert service.jupyter.read_text().count("default_url") == 1
    assert "13_parquet" in service.jupyter.read_text()
    assert len(json.loads(service.tasks.read_text())["tasks"]) == 1
    assert "13_parquet" in service.tasks.read_text()
    assert not list(service.work.glob("*new-version*"))


def test_a_setting_of_jupyter_is_kept(service: Service) -> None:
    service.jupyter.parent.mkdir()
    before = "# Latin 1: \xe9\nc.FileContentsManager.delete_to_trash = False".encode("latin-1")
    service.jupyter.write_bytes(before)
    service.jupyter.chmod(0o600)
    service.start()
    once = service.jupyter.read_bytes()
    service.start()
    assert once == service.jupyter.read_bytes() and once.startswith(before + b"\n")
    assert service.jupyter.stat().st_mode & 0o777 == 0o600


SETTINGS = """{
    // mine: "task.allowAutomaticTasks": "off"
    "editor.fontSize": 20, /* large */
    "workbench.startupEditor": "none",
    "nested": {"task.allowAutomaticTasks": "off", "url": "https://x//y",},
}
"""
TASKS = """{
    // my tasks
    "version": "2.0.0",
    "tasks": [
        {"label": "mine", "type": "shell", "command": "make"}, // the last one
    ],
}
"""


def test_settings_of_vscode_are_kept(service: Service) -> None:
    for path, text in [(service.vscode, SETTINGS), (service.tasks, TASKS)]:
        path.parent.mkdir(parents=True)
        path.write_text(text)
    for _ in range(2):
        service.start(CHAPTER, "v1", "vscode")
        for path, text in [(service.vscode, SETTINGS), (service.tasks, TASKS)]:
            added = iter(path.read_text().splitlines())
            assert all(line in added for line in text.splitlines()), "a line is gone"
        settings = jsonc.read(service.vscode.read_text())
        assert settings["task.allowAutomaticTasks"] == "on"
        assert settings["workbench.startupEditor"] == "none"
        labels = [task["label"] for task in jsonc.read(service.tasks.read_text())["tasks"]]
        assert labels == ["Open the notebook", "mine"]


@pytest.mark.parametrize("text", ["{ broken", "[1]", '{"tasks": {}}'])
def test_settings_that_cannot_be_understood_are_left_alone(service: Service, text: str) -> None:
    service.tasks.parent.mkdir()
    service.tasks.write_text(text)
    service.start(CHAPTER, "v1", "vscode")
    assert service.tasks.read_text() == text
    assert "tasks.json" in service.note() and f"Open {CHAPTER}.ipynb" in service.note()
    assert json.loads(service.vscode.read_text())["workbench.startupEditor"] == "readme"


@pytest.mark.parametrize("kind", SERVICES)
def test_starts_at_the_same_moment_do_no_harm(service: Service, kind: str) -> None:
    started = [service.popen(CHAPTER, "v1", kind) for _ in range(4)]
    said = ["".join(process.communicate()) for process in started]
    assert [process.returncode for process in started] == [0] * 4, said
    assert sum(f"{CHAPTER}.ipynb: new" in text for text in said) == 1
    assert not service.notes and not list(service.work.glob("*new-version*"))
    if kind == "jupyter":
        assert service.jupyter.read_text().count("default_url") == 1
    else:
        assert len(json.loads(service.tasks.read_text())["tasks"]) == 1
    assert not [path for path in service.work.iterdir() if re.search(r"\.\d+$", path.name)]


# -- a download that breaks off -----------------------------------------------------


def test_a_truncated_download_executes_nothing(tmp_path: Path) -> None:
    whole = (SCRIPTS / "init-jupyter.sh").read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")][:-1]
    last = whole.rstrip().rindex(b"\n")
    cuts = {*ends, *range(0, len(whole), 97), *range(last, len(whole.rstrip()))}
    # each program that the script could call leaves a trace instead
    canary = tmp_path / "bin"
    canary.mkdir()
    for name in {*TOOLS, "python3", "python", "touch"} - {"bash"}:
        (canary / name).write_text(f"#!{shutil.which('bash')}\n: >{tmp_path}/executed\n")
        (canary / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()

    def leaves_a_trace(script: bytes) -> bool:
        subprocess.run(
            [shutil.which("bash") or "bash", "-s", "--", CHAPTER],
            input=script,
            cwd=work,
            env={"PATH": str(canary), "HOME": str(tmp_path)},
            capture_output=True,
        )
        return (tmp_path / "executed").exists() or bool(list(work.iterdir()))

    assert len(cuts) > 250
    assert [cut for cut in sorted(cuts) if leaves_a_trace(whole[:cut])] == []
    assert leaves_a_trace(whole), "the harness would notice"


# -- users --------------------------------------------------------------------------


def owners(*folders: Path) -> set[int]:
    return {path.lstat().st_uid for folder in folders for path in [folder, *folder.rglob("*")]}


@needs_root
@pytest.mark.parametrize("kind", SERVICES)
def test_user_1000_can_run_it(unprivileged: Service, kind: str) -> None:
    unprivileged.start(CHAPTER, "light", kind)
    assert (unprivileged.work / f"{CHAPTER}.ipynb").exists() and not unprivileged.notes
    assert owners(unprivileged.work, unprivileged.home) == {STUDENT}
    note = unprivileged.fails("no_chapter", "light", kind)
    assert CHAPTER in note and owners(unprivileged.work) == {STUDENT}


@needs_root
@pytest.mark.parametrize("kind", SERVICES)
def test_root_leaves_files_of_the_owner_of_the_work_folder(student: Service, kind: str) -> None:
    student.start(CHAPTER, "v1", kind)
    assert owners(student.work, student.home) == {STUDENT}
    student.fails("no_chapter", "v1", kind)
    assert owners(student.work, student.home) == {STUDENT}


@needs_root
@pytest.mark.parametrize("variable", ["SUDO_USER", "USERNAME"])
def test_root_gives_a_work_folder_of_its_own_to_the_service_s_user(
    service: Service, variable: str
) -> None:
    user = pwd.getpwnam("daemon")
    os.chown(service.home, user.pw_uid, user.pw_gid)
    service.start(**{variable: user.pw_name})
    assert owners(service.work, service.home) == {user.pw_uid}


# -- what goes wrong, for real ------------------------------------------------------


def only(folder: Path, *names: str) -> str:
    """A PATH with these programs and no other."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name) or name)
    return str(folder)


def python_in(folder: Path) -> None:
    (folder / "python3").write_text(f'#!{shutil.which("bash")}\nexec {sys.executable} "$@"\n')
    (folder / "python3").chmod(0o755)


def test_bash_git_curl_python_and_core_utilities_are_enough(
    service: Service, tmp_path: Path
) -> None:
    service.path = only(tmp_path / "bin", *TOOLS)
    python_in(tmp_path / "bin")
    service.start()


def test_without_git_the_student_is_told(service: Service, tmp_path: Path) -> None:
    service.path = only(tmp_path / "bin", *(set(TOOLS) - {"git"}))
    python_in(tmp_path / "bin")
    assert "this service has no git" in service.fails()


@pytest.mark.parametrize("there", [False, True], ids=["none", "an old one"])
def test_without_python_the_student_is_told(service: Service, tmp_path: Path, there: bool) -> None:
    service.path = only(tmp_path / "bin", *TOOLS)
    if there:
        (tmp_path / "bin" / "python3").write_text(f"#!{shutil.which('bash')}\nexit 1\n")
        (tmp_path / "bin" / "python3").chmod(0o755)
    assert "no Python 3.11 or newer" in service.fails()


@pytest.mark.parametrize("version", ["main", "v9", "0123456", "0" * 40])
def test_what_is_neither_tag_nor_commit_is_refused(service: Service, version: str) -> None:
    note = service.fails(CHAPTER, version)
    assert f"There is no version {version} of https://github.com/owner/course" in note
    assert "a branch is none" in note


def test_another_repository_is_not_taken_for_the_course(service: Service, course: Course) -> None:
    course.publish("other", lambda folder: shutil.rmtree(folder / "init-scripts"))
    assert "is not this course" in service.fails(CHAPTER, "other")


def test_without_network_the_student_is_told_and_a_later_start_clears_it(
    service: Service,
) -> None:
    service.start("13_parquet", "v2")  # an earlier day
    before = {path: path.read_bytes() for path in service.work.rglob("*") if path.is_file()}
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{closed.getsockname()[1]}/owner/course"
        note = service.fails(f"{CHAPTER} --repository {address}")
    assert "could not be fetched" in note and "Restart the service" in note
    assert all(path.read_bytes() == content for path, content in before.items())
    service.start()
    assert not service.notes


def small_disk(folder: Path, *options: str) -> Path:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(["mode=777", *options]), "tmpfs", folder],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    return folder


@needs_root
def test_on_a_full_disk_nothing_is_lost_and_the_student_is_told(service: Service) -> None:
    small_disk(service.work, "size=200k")
    try:
        (service.work / "mine.ipynb").write_bytes(b"x" * 90_000)
        note = service.fails()
        assert "No space left on device" in note and "Delete files" in note
        assert (service.work / "mine.ipynb").stat().st_size == 90_000
        for path in service.work.glob("0*.ipynb"):
            json.loads(path.read_text(encoding="utf-8"))  # whole or not there
        (service.work / "mine.ipynb").unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", service.work], check=True)
        service.start()
        assert not service.notes
    finally:
        subprocess.run(["umount", service.work], check=True)


@needs_root
def test_on_a_disk_without_a_byte_the_log_tells(service: Service) -> None:
    small_disk(service.work, "size=64k")
    try:
        (service.work / "mine").write_bytes(b"x" * 65_536)
        said = service.start(ok=False)
        assert "No space left on device" in said
        assert "COURSE-SETUP.md could not be written" in said
        assert service.files() == ["mine"]
    finally:
        subprocess.run(["umount", service.work], check=True)


@needs_root
def test_with_a_full_temporary_folder_the_student_is_told(service: Service) -> None:
    folder = Path(service.more["TMPDIR"])
    small_disk(folder, "size=64k")
    try:
        note = service.fails()
        assert "disk is full" in note or "temporary folder" in note
    finally:
        subprocess.run(["umount", folder], check=True)


@needs_root
def test_a_work_folder_that_is_read_only_is_told_in_the_log(unprivileged: Service) -> None:
    unprivileged.work.chmod(0o555)
    said = unprivileged.start(CHAPTER, "light", ok=False)
    assert "cannot be written: Permission denied" in said
    assert "COURSE-SETUP.md could not be written" in said


@needs_root
@pytest.mark.parametrize("kind", SERVICES)
def test_with_a_home_that_is_read_only_the_student_is_told_what_to_open(
    unprivileged: Service, kind: str
) -> None:
    unprivileged.home.chmod(0o555)
    unprivileged.start(CHAPTER, "light", kind)
    assert (unprivileged.work / f"{CHAPTER}.ipynb").exists()
    note = unprivileged.note()
    assert "with a remark" in note and f"Open {CHAPTER}.ipynb" in note
    assert "Permission denied" in note


# -- over HTTPS, as in life ---------------------------------------------------------


class _Git(http.server.BaseHTTPRequestHandler):
    """Git's own server program behind HTTPS; counts what it sends."""

    protocol_version = "HTTP/1.1"
    origin: Path
    sent = 0

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.startswith("/private/"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(self.origin),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_ADDR": "127.0.0.1",
                "CONTENT_LENGTH": str(len(body)),
            },
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200 OK").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        type(self).sent += len(content)

    do_POST = do_GET  # noqa: N815 (the name that http.server asks for)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def https(service: Service, tmp_path: Path) -> Iterator[tuple[str, type[_Git]]]:
    """The address of a server of the course, and its handler."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    service.more["GIT_SSL_CAINFO"] = str(tmp_path / "ca.pem")
    handler = type("Git", (_Git,), {"origin": service.origin})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_over_https_only_what_students_need_is_fetched(
    service: Service, course: Course, https: tuple[str, type[_Git]]
) -> None:
    address, server = https
    for version in ("v1", course.commit("v2")):
        server.sent = 0
        service.start(f"{CHAPTER} --repository {address}/owner/course --version {version}")
        needed = ["notebooks", "init-scripts"]
        assert 0 < server.sent < packed(course, *needed) * 1.2
        assert server.sent < packed(course, ".") / 2


def packed(course: Course, *paths: str) -> int:
    """Size, in bytes, of these files in an archive."""
    words = ["git", "-C", str(course.sources), "archive", "--format=tar.gz", "main", *paths]
    return len(subprocess.run(words, check=True, capture_output=True).stdout)


def test_a_repository_that_is_gone_is_named(
    service: Service, https: tuple[str, type[_Git]]
) -> None:
    note = service.fails(f"{CHAPTER} --repository {https[0]}/owner/gone")
    assert f"{https[0]}/owner/gone does not exist, or is not public" in note


def test_a_private_repository_asks_nobody_for_a_password(
    service: Service, https: tuple[str, type[_Git]]
) -> None:
    note = service.fails(f"{CHAPTER} --repository {https[0]}/private/course")
    assert "does not exist, or is not public" in note


# -- by hand, where the script did not arrive ---------------------------------------


class _Raw(http.server.BaseHTTPRequestHandler):
    """The files of this checkout as the forge serves them, while it does."""

    refusal: int | None = None

    def do_GET(self) -> None:
        file = ROOT / "init-scripts" / Path(self.path).name
        body = b"echo executed >executed" if self.refusal else file.read_bytes()
        self.send_response(self.refusal or 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def forge(service: Service, tmp_path: Path) -> Iterator[type[_Raw]]:
    """What answers for raw.githubusercontent.com, as a curl in the service sees it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    handler = type("Raw", (_Raw,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(RAW.removeprefix("https://")).configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (service.home / ".curlrc").write_text(
        f'connect-to = "::127.0.0.1:{server.server_port}"\ncacert = "{tmp_path}/ca.pem"\n'
    )
    yield handler
    server.shutdown()
    server.server_close()


def by_hand(service: Service) -> str:
    """What a student sees who types the command of the page for trouble in the work folder."""
    pages = [(ROOT / "book" / name).read_text() for name in ("trouble.md", "index.md")]
    found = [re.findall(r"^ *(curl .*\$PERSONAL_INIT_ARGS)$", page, re.MULTILINE) for page in pages]
    ((command,), (same,)) = found
    assert command == same
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=service.work,
        env={**service.environment(), "PERSONAL_INIT_ARGS": CHAPTER},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


def test_by_hand_the_student_s_edition_comes_and_a_second_time_does_no_harm(
    service: Service, forge: type[_Raw]
) -> None:
    path = service.work / f"{CHAPTER}.ipynb"
    assert f"ready: {CHAPTER}.ipynb" in by_hand(service)
    assert "wrong_answers" not in path.read_text(encoding="utf-8")
    mine = edit(path)
    said = by_hand(service)
    assert f"{CHAPTER}.ipynb: kept" in said and "13_parquet.ipynb: up to date" in said
    assert path.read_bytes() == mine and not service.notes


@pytest.mark.parametrize("status", [404, 429])
def test_by_hand_a_script_that_does_not_arrive_is_named_and_nothing_is_executed(
    service: Service, forge: type[_Raw], status: int
) -> None:
    forge.refusal = status
    assert f"error: {status}" in by_hand(service)
    assert service.files() == []
    page = (ROOT / "book" / "trouble.md").read_text()
    assert f"`error: {status}`" in page


# -- packages -----------------------------------------------------------------------


def wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    """A package of one module, written by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    information = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"version = '{version}'\n")
        archive.writestr(f"{information}/METADATA", metadata)
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/RECORD", "")


def with_packages(folder: Path) -> None:
    """A course whose chapter needs two packages."""
    cells = [
        {"cell_type": "markdown", "id": "title", "metadata": {}, "source": ["# Tiny"]},
        {
            "cell_type": "code",
            "id": "packages",
            "metadata": {},
            "source": ["from course.packages import install\n\n", f"install({TINY})"],
        },
        {"cell_type": "code", "id": "use", "metadata": {}, "source": ["import never_named"]},
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "notebooks" / "99_tiny.ipynb").write_text(json.dumps(notebook))


TINY = '"tiny-package", "tiny_tool"'


@pytest.fixture(scope="session")
def bare_python(place: Path) -> Path:
    """A folder with a Python that has no package at all."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "bare"], check=True)
    return place / "bare"


@pytest.fixture
def lacking(
    service: Service, course: Course, bare_python: Path, tmp_path: Path
) -> Iterator[Service]:
    """A service that lacks the packages of the chapter 99_tiny; they are in `wheels`."""
    course.publish("tiny", with_packages)
    shutil.copytree(bare_python, tmp_path / "python", symlinks=True)
    (tmp_path / "python" / "pyvenv.cfg").write_text((bare_python / "pyvenv.cfg").read_text())
    service.path = only(tmp_path / "bin", *TOOLS)
    for name in ("python3", "python"):
        (tmp_path / "bin" / name).write_text(
            f'#!{shutil.which("bash")}\nexec {tmp_path}/python/bin/python "$@"\n'
        )
        (tmp_path / "bin" / name).chmod(0o755)
    wheel(tmp_path / "wheels" / "tiny-package", "tiny_package", "2.0", "tiny_base>=1")
    wheel(tmp_path / "wheels" / "tiny-tool", "tiny_tool", "1.0")
    wheel(tmp_path / "wheels" / "tiny-base", "tiny_base", "3.0")
    handler = functools.partial(_Quiet, directory=str(tmp_path / "wheels"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index = f"http://127.0.0.1:{server.server_port}/"
    service.more |= {"PIP_REPOSITORY": index, "PIP_INDEX_URL": index}  # pip is told by Onyxia
    service.more["UV_CACHE_DIR"] = str(service.work / ".cache" / "uv")  # as on the platform
    yield service
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """A folder of folders of wheels is a package index (PEP 503)."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def with_installer(service: Service, installer: str, tmp_path: Path) -> None:
    if installer == "uv":
        uv = Path(sys.executable).with_name("uv")
        (tmp_path / "bin" / "uv").symlink_to(uv)
    else:  # pip of the tests' Python, for that of the service
        import pip

        (tmp_path / "pip").mkdir()
        (tmp_path / "pip" / "pip").symlink_to(Path(pip.__file__).parent)
        service.more["PYTHONPATH"] = str(tmp_path / "pip")


def installed(tmp_path: Path) -> set[str]:
    (folder,) = (tmp_path / "python" / "lib").glob("python3*/site-packages")
    return {path.name.removesuffix(".dist-info") for path in folder.glob("*.dist-info")}


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_missing_packages_are_installed_and_present_ones_are_left(
    lacking: Service, tmp_path: Path, installer: str
) -> None:
    with_installer(lacking, installer, tmp_path)
    (folder,) = (tmp_path / "python" / "lib").glob("python3*/site-packages")
    wheel(tmp_path / "old", "tiny_base", "1.0")
    zipfile.ZipFile(tmp_path / "old" / "tiny_base-1.0-py3-none-any.whl").extractall(folder)
    said = lacking.start("99_tiny", "tiny")
    assert "Installing tiny-package, tiny_tool…" in said
    assert installed(tmp_path) == {"tiny_package-2.0", "tiny_tool-1.0", "tiny_base-1.0"}
    assert not lacking.notes
    assert not (lacking.work / ".cache").exists() and not (lacking.home / ".cache").exists()
    assert "Installing" not in lacking.start("99_tiny", "tiny")


@pytest.mark.parametrize("installer", ["uv", "pip", "neither"])
def test_without_an_index_the_student_is_told_and_the_chapter_is_there(
    lacking: Service, tmp_path: Path, installer: str
) -> None:
    if installer != "neither":
        with_installer(lacking, installer, tmp_path)
    with socket.socket() as closed:  # nobody listens there
        closed.bind(("127.0.0.1", 0))
        index = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        lacking.start("99_tiny", "tiny", PIP_REPOSITORY=index, PIP_INDEX_URL=index)
    note = lacking.note()
    assert "with a remark" in note
    assert "could not be installed: tiny-package, tiny_tool." in note
    assert (lacking.work / "99_tiny.ipynb").exists() and "99_tiny" in lacking.jupyter.read_text()


def test_a_package_that_would_change_another_is_left_out_and_the_other_is_installed(
    lacking: Service, tmp_path: Path
) -> None:
    with_installer(lacking, "uv", tmp_path)
    (folder,) = (tmp_path / "python" / "lib").glob("python3*/site-packages")
    wheel(tmp_path / "old", "tiny_base", "0.5")
    zipfile.ZipFile(tmp_path / "old" / "tiny_base-0.5-py3-none-any.whl").extractall(folder)
    said = lacking.start("99_tiny", "tiny")
    assert installed(tmp_path) == {"tiny_tool-1.0", "tiny_base-0.5"}
    assert "Left out" in said and "here: tiny-package." in said


# -- JSON with comments -------------------------------------------------------------

EDITS = {
    "nothing": "",
    "blanks": " \n",
    "a comment": "// none\n",
    "a mark of order": '\ufeff{"a": 1}',
    "an empty object": "{}",
    "a member": '{"a": 1}',
    "a comma at the end": '{"a": 1,}',
    "the key": '{"a": 1, "key": "old", "b": {"key": 3}}',
    "the key twice": '{"key": 1, "key": "old"}',
    "the key in a comment": '{ /* "key": 1 */ "a": "\\" // no comment", // "key": 2\n}',
    "the key in a string": '{"a": "\\"key\\": 1, }"}',
    "a long value": '{"key": [1, {"b": [2]}],\r\n"c": null}',
}


@pytest.mark.parametrize("what", EDITS)
def test_one_value_is_set_and_all_else_stays(what: str) -> None:
    before = EDITS[what]
    after = jsonc.with_value(before, "key", "new")
    assert jsonc.read(after) == {**jsonc.read(before), "key": "new"}
    for comment in re.findall(r"/\*.*\*/|// (?!no comment).*", before):
        assert comment in after
    assert jsonc.with_value(after, "key", "new") == after


@pytest.mark.parametrize("text", ["{", "[]", "1", '{"a"}', "{} {}", '{"a": "b}'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        jsonc.with_value(text, "key", "new")


# -- the files themselves -----------------------------------------------------------


def test_the_two_scripts_differ_in_one_line() -> None:
    jupyter, vscode = ((SCRIPTS / f"init-{kind}.sh").read_text() for kind in SERVICES)
    assert jupyter.count("service=jupyter #") == 1
    regenerate = "sed 's/^service=jupyter/service=vscode/' init-jupyter.sh >init-vscode.sh"
    assert jupyter.replace("service=jupyter #", "service=vscode #") == vscode, regenerate


def test_shellcheck_has_nothing_to_say() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed here")
    scripts = sorted(SCRIPTS.glob("*.sh"))
    assert len(scripts) == 2
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_programs_import_the_standard_library_only() -> None:
    course = ROOT / "notebooks" / "course"
    own = {"course", *(path.stem for path in SCRIPTS.glob("*.py"))}
    for path in [*SCRIPTS.glob("*.py"), course / "__init__.py", course / "packages.py"]:
        names = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
        assert set(names) <= own | set(sys.stdlib_module_names), path.name


# -- a real JupyterLab --------------------------------------------------------------

#: Of the units, the one whose cells run in the least time.
QUICKEST = "11_first_steps"


@pytest.fixture
def lab(service: Service) -> Iterator[tuple[str, int, str]]:
    """A JupyterLab as the chart starts it, after the script: its token, port and log."""
    said = service.start(QUICKEST)
    # the images have DuckDB's extensions in their home; the datalab has put them in ours
    (service.home / ".duckdb").symlink_to(Path.home() / ".duckdb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    log = service.home / "log"
    environment = {
        name: value
        for name, value in os.environ.items()  # those of the datalab
        if not name.startswith(("JUPYTER", "PYTEST"))
    }
    options = [
        *("--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--LabApp.token={token}", "--ContentsManager.allow_hidden=True"),
        *(["--allow-root"] if AS_ROOT else []),
        "--LabApp.expose_app_in_browser=True",  # so that a test sees when all cells have run
    ]
    with log.open("w") as lines:
        server = subprocess.Popen(
            [Path(sys.executable).with_name("jupyter"), "lab", *options],
            cwd=service.work,
            env={**environment, "HOME": str(service.home)},
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
        )
    try:
        wait_until(lambda: answers(port) or server.poll() is not None, "JupyterLab answers")
        assert server.poll() is None, said + log.read_text()
        yield token, port, log.read_text()
    finally:
        server.terminate()
        server.wait(30)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def location(port: int, path: str) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    return connection.getresponse().getheader("Location")


#: The command is over at the first error, also at one that is meant; the kernel is not.
#: It answers in order, so what is asked last is answered when all cells are done.
RUN = """async () => {
    const app = window.jupyterapp;
    const context = app.shell.currentWidget.sessionContext;
    const a_moment = () => new Promise(done => setTimeout(done, 200));
    await context.ready;
    while (context.session?.kernel?.status != 'idle') await a_moment();
    await app.commands.execute('notebook:run-all-cells');
    const last = context.session.kernel.requestExecute({code: 'None', silent: true});
    await last.done.catch(() => 'cancelled, since a cell failed');
    await a_moment();
    await app.commands.execute('docmanager:save');
}"""


@pytest.mark.xdist_group(f"{QUICKEST}.ipynb")  # beside its other runs, it would meet their objects
def test_a_student_finds_the_chapter_open_in_jupyterlab_and_all_cells_run(
    service: Service, lab: tuple[str, int, str]
) -> None:
    token, port, _ = lab
    assert location(port, f"/?token={token}") == f"/lab/tree/{QUICKEST}.ipynb?token={token}"
    assert (location(port, "/") or "").startswith(f"/lab/tree/{QUICKEST}.ipynb")

    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip(f"no Chromium here (looked for {', '.join(CHROMIUM)})")
    from playwright.sync_api import sync_playwright

    notebook = service.work / f"{QUICKEST}.ipynb"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(90_000)
        page.goto(f"http://127.0.0.1:{port}/?token={token}")

        def run_all() -> list[dict]:
            page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) h1").first.wait_for()
            page.evaluate(RUN)
            return json.loads(notebook.read_text(encoding="utf-8"))["cells"]

        # the exercises are still to be done: the first check says so, and there it stops
        cells = run_all()
        checks = [c for c in cells if "check" in c["metadata"].get("tags", [])]
        (error,) = checks[0]["outputs"]
        assert error["ename"] == "AssertionError" and len(error["evalue"]) > 10
        page.locator(".jp-OutputArea-output", has_text=error["evalue"]).wait_for()
        assert checks[1]["outputs"] == [] and checks[1]["execution_count"] is None

        # a student who has done them: the solutions, in an untouched copy
        notebook.unlink()
        service.start(f"{QUICKEST} --solutions")
        page.goto("about:blank")
        page.goto(f"http://127.0.0.1:{port}/?token={token}")
        cells = run_all()
        code = [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]
        failed = {c["id"] for c in code if any(o["output_type"] == "error" for o in c["outputs"])}
        meant = {c["id"] for c in code if "raises-exception" in c["metadata"].get("tags", [])}
        assert failed == meant
        assert [c["id"] for c in code if c["execution_count"] is None] == []
        for check in [c for c in code if "check" in c["metadata"].get("tags", [])]:
            assert "".join(check["outputs"][0]["text"]).strip()
        browser.close()
