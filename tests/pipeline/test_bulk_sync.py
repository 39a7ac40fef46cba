"""Each commit is on the disk before it has its name: fsync of the file, then rename, then fsync of the folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jina_embeddings.pipeline.shards import rejects_name, shard_name, vectors_name

CODE = """
import sys
from jina_embeddings import JinaEmbeddings
from jina_embeddings.pipeline import Form
from killed_run import embed
embed(sys.argv[1], "1/1", "never", [sys.argv[2]], Form(layout="npy"), ("fake", "fake"))
"""


def calls_of(folder: Path, inputs: Path) -> list[tuple[str, str]]:
    """The calls of fsync, rename and link in their order: the name of each, and its path or the name it gives."""
    log = folder.parent / "calls"
    support = str(Path(__file__).parents[1] / "support")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([support, *sys.path])}
    trace = [
        "strace",
        "-f",
        "-y",
        "-s",
        "300",
        "-o",
        str(log),
        "-e",
        "trace=fsync,fdatasync,rename,renameat,link,linkat",
    ]
    subprocess.run([*trace, sys.executable, "-c", CODE, str(folder), str(inputs)], check=True, env=environment)
    found = []
    for line in log.read_text().splitlines():
        if synced := re.search(r"f(?:data)?sync\(\d+<(.*?)>\) += 0", line):
            found.append(("fsync", synced[1]))
        elif named := re.search(r'(?:rename|link)\w*\(.*"([^"]+)".*"([^"]+)".*\) += 0', line):
            found += [("from", named[1]), ("to", named[2])]
    return found


def test_every_commit_syncs_before_it_renames(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt-get install strace")
    (tmp_path / "lines.txt").write_text("".join(f"line {number}\n" for number in range(400)))
    folder = tmp_path / "v"
    calls = calls_of(folder, tmp_path / "lines.txt")
    committed = [path for call, path in calls if call == "to"]
    for shard in range(3):
        names = [vectors_name(shard, "embedding", ".npy"), rejects_name(shard), shard_name(shard)]
        places = [committed.index(str(folder / name)) for name in names]
        assert places == sorted(places), "the shard's own file comes last"
    assert str(folder / "_manifest.json") == committed[0]
    for number, (call, path) in enumerate(calls):
        if call == "from":
            assert ("fsync", path) in calls[:number], f"{path} was named before it was on the disk"
            target = calls[number + 1][1]
            next_sync = next(where for call, where in calls[number + 2 :] if call == "fsync")
            assert next_sync == os.path.dirname(target), f"the folder of {target} was not synced"
