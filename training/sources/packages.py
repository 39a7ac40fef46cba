"""Fetches packages by name and version with the registries' own clients, and reads files out of them.

A package is written `pip:numpy==2.3.5`, `npm:lodash@4.17.21` or `deb:wordnet-base=1:3.0-37`. Without a version the newest is taken.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

CACHE = Path.home() / ".cache" / "jina-embeddings-training"
SPLIT = {"pip": "==", "npm": "@", "deb": "="}
LARGEST_FILE = 32 << 20


def fetch(package: str, cache: Path = CACHE) -> Path:
    """The package's archive in the cache, downloaded if it isn't there yet. RuntimeError says what the client said."""
    registry, name = package.split(":", 1)
    folder = cache / registry
    folder.mkdir(parents=True, exist_ok=True)
    name, _, version = _split(registry, name)
    if found := _cached(folder, registry, name, version):
        return found
    wanted = name + (SPLIT[registry] + version if version else "")
    command = {
        "pip": ["pip", "download", "-q", "--no-deps", "--prefer-binary", "-d", ".", wanted],
        "npm": ["npm", "pack", "--silent", wanted],
        "deb": ["apt-get", "download", "-q", wanted],
    }[registry]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode or not (found := _cached(folder, registry, name, version)):
        raise RuntimeError(f"{package} can't be fetched: {(done.stderr or done.stdout).strip()[-400:]}")
    return found


def _split(registry: str, name: str) -> tuple[str, str, str]:
    start = 1 if name.startswith("@") else 0
    head, mark, version = name[start:].partition(SPLIT[registry])
    return name[:start] + head, mark, version


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
