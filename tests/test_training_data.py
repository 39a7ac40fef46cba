"""The training data: what it is built from, its licences, and the packages it is read out of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "training" / "sources"))

import build_data
import code_packages
import packages
from data_table import package_url, records, summary

TRAINING = Path(__file__).resolve().parents[1] / "training"
DATA = (TRAINING / "DATA.md").read_text(encoding="utf-8")
UNFIT = re.compile(r"\b(GPL|LGPL|AGPL|GFDL|CC-BY\b|CC-BY-|NC\b)")


def test_every_step_has_its_sources_in_data_md():
    table = DATA.partition("| Step |")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| ([\w ]+?) \| [\w.-]+ \|", table, re.MULTILINE))
    built = {step.name for step in build_data.STEPS}
    assert named == built


def test_every_source_script_is_a_step_or_part_of_one():
    scripts = {TRAINING / step.script for step in build_data.STEPS}
    reached = scripts | {file for script in scripts for file in build_data.imported(script)}
    unused = set((TRAINING / "sources").glob("*.py")) - reached
    assert {file.name for file in unused} == {"translations_mined.py"}  # writes words/*.csv, which are committed


def test_every_package_is_in_data_md():
    pinned = {package_url(package).rpartition("@")[0] for package in build_data.packages()}
    heldout = {
        package_url(package).rpartition("@")[0]
        for package in (*code_packages.HELD_OUT_PYTHON, *code_packages.HELD_OUT_GO)
    }
    listed = set(re.findall(r"^- `(.*)@[^@`]+`: ", DATA, re.MULTILINE))
    assert pinned - heldout - {package_url(build_data.HELD_OUT_MANUAL).rpartition("@")[0]} == listed


def test_no_licence_of_a_source_forbids_apache():
    licences = re.findall(r"^- `pkg:[^`]+`: (.+)$", DATA, re.MULTILINE)
    assert len(licences) > 400
    assert [licence for licence in licences if UNFIT.search(licence)] == []


def test_held_out_packages_are_never_trained_on():
    trained = {**code_packages.PYTHON, **code_packages.GO}
    for package in (*code_packages.HELD_OUT_PYTHON, *code_packages.HELD_OUT_GO):
        assert packages.name_of(package) not in {packages.name_of(other) for other in trained}


@pytest.mark.parametrize(
    ("package", "url"),
    [
        ("pip:numpy==2.3.5", "pkg:pypi/numpy@2.3.5"),
        ("npm:@mdi/svg@7.4.47", "pkg:npm/%40mdi/svg@7.4.47"),
        ("deb:wordnet-base=1:3.0-37", "pkg:deb/debian/wordnet-base@1:3.0-37"),
    ],
)
def test_packages_have_urls(package, url):
    assert package_url(package) == url


def test_many_packages_are_fetched_with_one_call_and_found_afterwards(tmp_path, monkeypatch):
    calls = []

    def run(command, cwd, **_):
        calls.append(command[0] if command[0] != sys.executable else "pip")
        for name in command:
            if "==" in name:
                Path(cwd, name.replace("==", "-") + "-py3-none-any.whl").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    packages.fetch_all(["pip:a_b==1.0", "pip:c==2"], tmp_path)
    assert calls == ["pip"]
    assert packages.fetch("pip:a-b==1.0", tmp_path).name == "a_b-1.0-py3-none-any.whl"
    packages.fetch_all(["pip:a_b==1.0", "pip:c==2"], tmp_path)
    assert calls == ["pip"]
    with pytest.raises(RuntimeError, match="can't be fetched"):
        packages.fetch("npm:absent@1.0.0", tmp_path)


def test_a_version_that_debian_has_dropped_is_replaced_and_told(tmp_path, monkeypatch):
    def run(command, cwd, **_):
        if command[-1] == "words":
            Path(cwd, "words_1%3a2.1-3_all.deb").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    assert packages.fetch("deb:words=1:2.0-1", tmp_path).name == "words_1%3a2.1-3_all.deb"
    assert packages.served("deb:words=1:2.0-1") == "deb:words=1:2.1-3"


def test_rows_are_added_up_by_licence(tmp_path):
    (tmp_path / "records").mkdir()
    for name, rows in (("a", 3), ("b", 4)):
        record = {"step": "s", "source": name, "packages": {f"pip:{name}==1": "MIT"}, "what": "words", "rows": rows}
        (tmp_path / "records" / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    assert [record["source"] for record in records(tmp_path)] == ["a", "b"]
    assert "| MIT | 7 |" in summary(tmp_path)


def test_a_step_is_run_again_when_a_module_of_its_script_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(build_data, "TRAINING", tmp_path)
    monkeypatch.setattr(build_data, "STAMPS", tmp_path / "stamps")
    (tmp_path / "script.py").write_text("import helper\nprint(helper.NUMBER)\n")
    (tmp_path / "helper.py").write_text("NUMBER = 1\n")
    step = build_data.Step("script.py", reads_packages=False)
    assert not step.is_done()
    step.run(tmp_path)
    assert step.is_done()
    (tmp_path / "helper.py").write_text("NUMBER = 2\n")
    assert not step.is_done()
    (tmp_path / "script.py").write_text("raise SystemExit('no words')\n")
    with pytest.raises(SystemExit, match="no words"):
        step.run(tmp_path)
    assert not step.is_done()
