"""Fetches packages by name and version with the registries' own clients, and reads files out of them.

A package is written `pip:numpy==2.3.5`, `npm:lodash@4.17.21` or `deb:wordnet-base=1:3.0-37`. Debian drops a version
when it is mended: then the one that is served now is taken, with a warning, and `served` tells it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

CACHE = Path.home() / ".cache" / "jina-embeddings-training"
SPLIT = {"pip": "==", "npm": "@", "deb": "="}
AT_ONCE = 24
LARGEST_FILE = 32 << 20
_served: dict[str, str] = {}


def fetch(package: str, cache: Path = CACHE) -> Path:
    """The package's archive in the cache, downloaded if it isn't there yet. RuntimeError says what the client said."""
    registry, name, version = _parts(package)
    folder = cache / registry
    folder.mkdir(parents=True, exist_ok=True)
    if found := _cached(folder, registry, name, version):
        return found
    said = _download(registry, [package.split(":", 1)[1]], folder)
    if found := _cached(folder, registry, name, version):
        return found
    if registry == "deb":
        _download(registry, [name], folder)
        if found := _cached(folder, registry, name, ""):
            _served[package] = f"deb:{name}={unquote(found.name.split('_')[1])}"
            print(f"{package} is no longer served: taking {_served[package]}", file=sys.stderr)
            return found
    raise RuntimeError(f"{package} can't be fetched: {said[-400:]}")


def served(package: str) -> str:
    """The package with the version that this process has read."""
    return _served.get(package, package)


def fetch_all(packages: Iterable[str], cache: Path = CACHE) -> None:
    """Downloads what isn't in the cache, many packages with one call of a client, the registries side by side.

    What a call leaves out is left to `fetch`, which says why.
    """
    wanted: dict[str, list[str]] = {}
    for package in dict.fromkeys(packages):
        registry, name, version = _parts(package)
        (cache / registry).mkdir(parents=True, exist_ok=True)
        if not _cached(cache / registry, registry, name, version):
            wanted.setdefault(registry, []).append(package.split(":", 1)[1])
    with ThreadPoolExecutor() as pool:
        for registry, names in wanted.items():
            for start in range(0, len(names), AT_ONCE):
                pool.submit(_download, registry, names[start : start + AT_ONCE], cache / registry)


def _download(registry: str, names: list[str], folder: Path) -> str:
    """Calls the registry's client; returns what it complained of."""
    command = {
        "pip": [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--prefer-binary",
            "--ignore-requires-python",
            "-d",
            ".",
        ],
        "npm": ["npm", "pack", "--silent"],
        "deb": ["apt-get", "download", "-q"],
    }[registry]
    done = subprocess.run([*command, *names], cwd=folder, capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).strip()


def name_of(package: str) -> str:
    """`deb:wordnet-base=1:3.0-37` -> `deb:wordnet-base`."""
    registry, name, _ = _parts(package)
    return f"{registry}:{name}"


def _parts(package: str) -> tuple[str, str, str]:
    """Registry, name and version, which may be empty."""
    registry, rest = package.split(":", 1)
    start = 1 if rest.startswith("@") else 0
    name, _, version = rest[start:].partition(SPLIT[registry])
    return registry, rest[:start] + name, version


def _cached(folder: Path, registry: str, name: str, version: str) -> Path | None:
    """The newest file of that package and version in the cache."""
    file_name = name.lstrip("@").replace("/", "-") if registry == "npm" else name
    between = "_" if registry == "deb" else "-"
    plain = re.sub(r"[-_.]+", "-", file_name.lower())
    wanted = version.replace(":", "%3a") if registry == "deb" else version
    matches = []
    for path in folder.iterdir():
        stem = path.name.lower()
        cut = stem.find(between) if registry == "deb" else _version_start(stem)
        if cut < 0 or re.sub(r"[-_.]+", "-", stem[:cut]) != plain:
            continue
        rest = stem[cut + 1 :]
        if not wanted or re.match(re.escape(wanted.lower()) + r"(?![0-9])", rest):
            matches.append(path)
    return max(matches, key=lambda path: path.stat().st_mtime, default=None)


def _version_start(stem: str) -> int:
    found = re.search(r"-v?\d+(\.|-|$)", stem)
    return found.start() if found else -1


def members(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of every regular file of a wheel, tarball or Debian package whose path matches, in path order."""
    wanted = re.compile(pattern)
    if archive.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(archive) as opened:
            for entry in sorted(opened.infolist(), key=lambda entry: entry.filename):
                if wanted.search(entry.filename) and entry.file_size <= LARGEST_FILE and not entry.is_dir():
                    yield entry.filename, opened.read(entry)
    elif archive.suffix == ".deb":
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["dpkg-deb", "-x", str(archive), folder], check=True)
            for path in sorted(Path(folder).rglob("*")):
                name = str(path.relative_to(folder))
                if wanted.search(name) and path.is_file() and not path.is_symlink():
                    yield name, path.read_bytes()
    else:
        with tarfile.open(archive) as opened:
            for entry in sorted(opened.getmembers(), key=lambda entry: entry.name):
                content = opened.extractfile(entry) if entry.isreg() and wanted.search(entry.name) else None
                if content is not None:
                    yield entry.name, content.read()
