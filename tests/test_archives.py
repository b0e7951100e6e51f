"""What is made once and kept in the cache: whole, or made again."""

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import pytest

from datalab import samples
from datalab.machine import archives
from tests.laptop import PROJECT, wait_until

CONTENT = bytes(range(256)) * 4000


class Maker:
    """Fills an archive, slowly if it is to, and counts."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds, self.times = seconds, 0

    def __call__(self, archive: ZipFile) -> None:
        self.times += 1
        archive.writestr("content", CONTENT)
        time.sleep(self.seconds)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the archives of this test are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data-in-the-cloud" / "archives"


def read(make: Maker, makers: str = "1") -> bytes:
    with archives.opened("thing", makers, make) as archive:
        return archive.read("content")


def test_it_is_made_once(folder: Path) -> None:
    make = Maker()
    assert read(make) == read(make) == CONTENT
    assert make.times == 1
    assert folder.stat().st_mode & 0o077 == 0


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def changed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "cut": cut,
    "empty": lambda content: b"",
    "one bit": changed,
    "its list of contents": lambda content: content[:-60] + bytes(10) + content[-50:],
    "something else": lambda content: b"no archive" * 1000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_made_again(folder: Path, damage: str) -> None:
    make = Maker()
    read(make)
    (file,) = folder.glob("*.zip")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert read(make) == CONTENT
    assert make.times == 2
    read(make)
    assert make.times == 2


def test_of_two_at_once_one_makes_it(folder: Path) -> None:
    make = Maker(seconds=0.5)
    with ThreadPoolExecutor(4) as pool:
        assert {*pool.map(lambda _: read(make), range(4))} == {CONTENT}
    assert make.times == 1


def test_one_that_is_killed_leaves_nothing_that_is_taken_for_whole(folder: Path) -> None:
    program = """
import time
from datalab.machine import archives

def make(archive):
    archive.writestr("content", bytes(1000))
    time.sleep(600)

archives.opened("thing", "1", make)
"""
    killed = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)
    wait_until(lambda: [*folder.glob("*.unfinished")], "it makes the archive")
    killed.kill()
    killed.wait()
    assert read(Maker()) == CONTENT
    assert not [*folder.glob("*.unfinished")]


def test_without_a_cache_it_is_made_each_time(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "cache").touch()  # a file where the folder would be
    make = Maker()
    assert read(make) == read(make) == CONTENT
    assert make.times == 2


def test_those_of_old_versions_go(folder: Path) -> None:
    make = Maker()
    for version in ("1", "2", "3", "4"):
        read(make, version)
        (file,) = folder.glob(f"thing-{version}-*.zip")
        os.utime(file, (int(version), int(version)))
    with archives.opened("other", "1", make):
        pass
    kinds = sorted(path.stem.rpartition("-")[0] for path in folder.glob("*.zip"))
    assert kinds == ["other-1", "thing-3", "thing-4"]


def test_another_source_or_package_is_another_archive(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("1")
    first = archives.digest([source], ["pytest"])
    assert archives.digest([source], ["pytest"]) == first
    assert archives.digest([source], ["psutil"]) != first
    assert archives.digest([source], ["pytest"], "elsewhere") != first
    source.write_text("2")
    assert archives.digest([source], ["pytest"]) != first


@pytest.mark.xdist_group("samples")  # which others make as well
def test_samples_from_the_cache_are_those_that_were_made() -> None:
    def digests() -> list[tuple[str, str, str, str]]:
        return [
            (bucket, sample.key, sample.content_type, hashlib.sha256(sample.content).hexdigest())
            for bucket, sample in samples.all_samples()
        ]

    first = digests()
    made = {bucket: list(each) for bucket, each in _made().items()}
    assert first == digests()
    assert [(bucket, key) for bucket, key, *_ in first] == [
        (bucket, sample.key) for bucket in made for sample in made[bucket]
    ]
    content = {(bucket, key): digest for bucket, key, _, digest in first}
    for bucket, each in made.items():
        for sample in each:
            expected = hashlib.sha256(sample.content).hexdigest()
            assert content[bucket, sample.key] == expected, sample.key


def _made() -> dict[str, list[samples.Sample]]:
    from datalab.samples.earth import samples_earth
    from datalab.samples.insee import samples as samples_insee

    return {"donnees-insee": [*samples_insee()], "earth-science": [*samples_earth()]}
