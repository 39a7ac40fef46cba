"""`jina-embeddings code` in a repository, on the fake engine, in which texts that share words are alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.code import CodeSearch, Repository
from jina_embeddings.apps.code import repository as repository_module
from jina_embeddings.cli import app
from jina_embeddings.errors import InputError, OptionError

FILES = {
    "auth.py": "import hashlib\n\n\ndef check_password(user):\n    '''password of user is right'''\n    return user\n",
    "mail/send.go": "package mail\n\n// Send gives a letter away.\nfunc Send(letter string) {\n\tpost(letter)\n}\n",
    "mail/post.rb": "def post(letter)\n  puts letter\nend\n",
    "run": "#!/usr/bin/env python3\ndef start_server(port):\n    listen(port)\n",
    "guide.md": "the password of user is right when\n",
    "other.md": "the password of user is right when it fits\n",
    ".gitignore": "secret.py\nbuild/\n",
    "secret.py": "def password(user): return 1\n",
    "build/made.py": "def password(user): return 2\n",
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with tracked files and two ignored ones."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    git("init", "-q")
    git("config", "user.email", "someone@example.com")
    git("config", "user.name", "Someone")
    commit()
    return tmp_path


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def commit() -> None:
    git("add", "-A")
    git("commit", "-qm", "All")


def run(*arguments: str, color: bool = False) -> Any:
    return CliRunner().invoke(app, ["code", *arguments, "--engine", "fake"], catch_exceptions=False, color=color)


def index(*arguments: str) -> str:
    """The summary at the end of the output."""
    result = run("index", *arguments)
    assert result.exit_code == 0, result.stderr
    return str(result.stderr)


def found(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


def files(query: str = "password user letter server", limit: int = 50) -> list[str]:
    return sorted({hit["file"] for hit in found("search", query, "--limit", str(limit))})


# Which files


@pytest.mark.usefixtures("repository")
def test_all_that_git_does_not_ignore_is_found_and_the_index_is_ignored() -> None:
    index()
    assert files() == [".gitignore", "auth.py", "guide.md", "mail/post.rb", "mail/send.go", "other.md", "run"]
    assert git("status", "--short") == ""


@pytest.mark.usefixtures("repository")
def test_new_files_that_git_does_not_know_yet_are_found_and_the_ignored_are_not() -> None:
    Path("new.py").write_text("def fresh_user(): pass\n")
    Path("build/new.py").write_text("def fresh_user(): pass\n")
    index()
    assert "new.py" in files()
    assert "build/new.py" not in files()


def test_a_folder_without_git_is_indexed_whole(repository: Path) -> None:
    subprocess.run(["rm", "-rf", ".git"], check=True)
    index(str(repository))
    assert {"auth.py", "secret.py", "build/made.py"} <= set(files())
    Path("auth.py").unlink()
    assert "1 removed" in index("--changed")
    assert "auth.py" not in files()


@pytest.mark.usefixtures("repository")
def test_links_and_data_are_left_out_and_unreadable_files_are_listed() -> None:
    Path("link.py").symlink_to("auth.py")
    Path("data.bin").write_bytes(b"\0\1\2")
    Path("latin.py").write_bytes(b"name = '\xe9'\n")
    Path("huge.py").write_text("x = 1\n" * 200_000)
    commit()
    result = run("index")
    assert result.exit_code == 3
    assert "latin.py: not UTF-8 at byte 8" in result.stderr
    assert "1 input failed" in result.stderr
    for line in ("huge.py: over 1 MiB", "data.bin: binary"):
        assert f"\n  {line}" in result.stderr
    assert {"link.py", "data.bin", "latin.py", "huge.py"}.isdisjoint(files())
    assert "auth.py" in files()


@pytest.mark.usefixtures("repository")
def test_deleted_and_moved_files_are_no_longer_found() -> None:
    index()
    Path("auth.py").unlink()
    git("mv", "mail/post.rb", "mail/letter.rb")
    said = index()
    assert "2 removed" in said
    assert "0 embedded and 1 reused" in said
    assert "auth.py" not in files()
    assert "mail/letter.rb" in files()


# --changed


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the names of the files that are read from now on."""
    seen: list[str] = []
    is_text = repository_module._is_text

    def remember(path: Path) -> bool:
        seen.append(path.name)
        return is_text(path)

    monkeypatch.setattr(repository_module, "_is_text", remember)
    return seen


@pytest.mark.usefixtures("repository")
def test_changed_reads_only_files_that_differ(looked_at: list[str]) -> None:
    index()
    looked_at.clear()
    assert "0 embedded and 0 reused" in index("--changed")
    assert looked_at == []
    Path("auth.py").write_text(FILES["auth.py"].replace("check", "compare"))
    Path("new.py").write_text("def fresh(): pass\n")
    Path("guide.md").unlink()
    said = index("--changed")
    assert sorted(looked_at) == ["auth.py", "new.py"]
    assert "2 new or changed, 0 unchanged, 1 removed" in said
    assert {hit["symbol"] for hit in found("search", "x") if hit["file"] == "auth.py"} == {"", "compare_password"}
    assert "guide.md" not in files()


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("how", ["commit", "revert", "stage"])
def test_changed_sees_committed_and_reverted_files(how: str) -> None:
    changed = FILES["auth.py"].replace("check", "compare")
    if how == "revert":
        Path("auth.py").write_text(changed)
        index()
        git("checkout", "-q", "auth.py")
        expected = "check_password"
    else:
        index()
        Path("auth.py").write_text(changed)
        git("rm", "-q", "guide.md")
        git("add", "-A")
        if how == "commit":
            git("commit", "-qm", "More")
        expected = "compare_password"
    index("--changed")
    assert {hit["symbol"] for hit in found("search", "x") if hit["file"] == "auth.py"} == {"", expected}
    assert ("guide.md" in files()) == (how == "revert")


@pytest.mark.usefixtures("repository")
def test_changed_gives_the_index_of_a_full_run(fake_model: JinaEmbeddings) -> None:
    changing = CodeSearch.open("one.index", fake_model, create=True)
    changing.update(Repository("mail"))
    Path("mail/send.go").write_text("")
    Path("mail/new.sh").write_text("greet() {\n  echo letter\n}\n")
    Path("mail/post.rb").unlink()
    Path("mail/post.rb").symlink_to("send.go")
    changing.update(Repository("mail"), changed=True)
    whole = CodeSearch.open("two.index", fake_model, create=True)
    whole.update(Repository("mail"))
    states = [search.index.store.states() for search in (changing, whole)]
    assert states[0] == states[1]
    assert list(states[0]) == ["new.sh"]


# What is printed


@pytest.mark.usefixtures("repository")
def test_a_hit_has_file_line_symbol_and_the_code() -> None:
    index()
    shown = run("search", "password of user is right", "--language", "python", "--limit", "1")
    assert shown.stdout.splitlines()[0].startswith("auth.py:4  check_password  1.000")
    assert shown.stdout.splitlines()[1:4] == [
        "  4 def check_password(user):",
        "  5     '''password of user is right'''",
        "  6     return user",
    ]
    (hit,) = found("search", "password of user is right", "--language", "python", "--limit", "1")
    assert (hit["file"], hit["line"], hit["end_line"], hit["symbol"]) == ("auth.py", 4, 6, "check_password")
    assert hit["text"].startswith("def check_password")
    assert len(run("search", "password", "--limit", "2", "--lines", "0").stdout.splitlines()) == 2
    assert CliRunner().invoke(app, ["code", "search", "-", "--engine", "fake"], input="password").exit_code == 0


@pytest.mark.usefixtures("repository")
def test_the_code_is_highlighted_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    index()
    monkeypatch.setattr("rich.console.Console._environ", {"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    shown = run("search", "password of user", "--language", "python", "--limit", "1", color=True).stdout
    # The keyword has a colour of its own.
    assert "def\x1b[0m" in shown


@pytest.mark.usefixtures("repository")
def test_paths_are_those_from_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    index()
    monkeypatch.chdir("mail")
    assert files() == ["../.gitignore", "../auth.py", "../guide.md", "../other.md", "../run", "post.rb", "send.go"]
    assert {hit["file"] for hit in found("search", "letter", "--path", "mail/*")} == {"post.rb", "send.go"}


# Code to code, documentation to code


@pytest.mark.usefixtures("repository")
def test_code_is_found_by_code_in_another_language_and_never_by_itself() -> None:
    index()
    hits = found("similar", "mail/post.rb:2", "--limit", "3")
    assert hits[0]["file"] == "mail/send.go"
    assert "mail/post.rb" not in {hit["file"] for hit in hits}
    assert {hit["language"] for hit in found("similar", "mail/post.rb:2", "--language", "go")} == {"go"}


@pytest.mark.usefixtures("repository")
def test_documentation_finds_code_and_no_other_documentation() -> None:
    index()
    hits = found("similar", "guide.md:1")
    assert hits[0]["symbol"] == "check_password"
    assert "text" not in {hit["language"] for hit in hits}
    assert found("similar", "guide.md:1", "--language", "text")[0]["file"] == "other.md"


@pytest.mark.usefixtures("repository")
def test_a_script_without_a_suffix_is_code() -> None:
    index()
    assert "other.md" in {hit["file"] for hit in found("similar", "run:2")}


@pytest.mark.usefixtures("repository")
def test_a_file_that_is_not_in_the_index_can_be_asked_about() -> None:
    index()
    assert found("similar", "secret.py:1")[0]["file"] == "auth.py"


# Errors


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "x", "--language", "pyton"], "did you mean 'python'?"),
        (["similar", "auth.py"], "write FILE:LINE"),
        (["similar", "none.py:1"], "there is no file none.py"),
        (["similar", "auth.py:99"], "there is nothing at that line"),
        (["search", "x", "--index", "nowhere"], "there is no index at nowhere"),
        (["index", "auth.py"], "is no folder"),
    ],
)
def test_impossible_requests_are_errors(arguments: list[str], message: str) -> None:
    index()
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not result.stdout


@pytest.mark.usefixtures("repository")
def test_a_repository_without_an_index_says_how_to_make_one() -> None:
    result = run("search", "x")
    assert result.exit_code == 2
    assert "make one with jina-embeddings code index" in result.stderr


@pytest.mark.usefixtures("repository")
def test_nothing_found_has_an_exit_status_of_its_own() -> None:
    index()
    assert run("search", "x", "--language", "java").exit_code == 1


def test_the_python_api_gives_the_same_results(repository: Path, fake_model: JinaEmbeddings) -> None:
    search = CodeSearch.open(repository / "code.index", fake_model, create=True, dimension=256)
    search.update(Repository(repository))
    assert search.search("password of user is right", language="python")[0].passage.title == "check_password"
    assert search.similar(repository / "mail/post.rb", 1, name="mail/post.rb")[0].passage.path == "mail/send.go"
    with pytest.raises(OptionError, match="unknown language 'cobol'"):
        search.search("x", language="cobol")
    with pytest.raises(InputError, match="nothing at that line"):
        search.similar(repository / "auth.py", 50)


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("is_git", [True, False])
def test_a_folder_that_can_not_be_listed_is_a_failure_and_keeps_its_files(
    is_git: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("new").mkdir()
    Path("new/late.py").write_text("def late_password(user): pass\n")
    if not is_git:
        shutil.rmtree(".git")
    index()
    assert "new/late.py" in files()
    listed, real_run = os.listdir, subprocess.run

    def refuse(path: Any) -> list[str]:
        if str(path).endswith("new"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    def run_git(command: list[str], **options: Any) -> Any:
        done = real_run(command, **options)
        if "--others" in command:
            assert b"new/late.py\0" in done.stdout
            # What git prints for a user who may not list it; root may.
            done.stderr = b"warning: could not open directory 'new/': Permission denied\n"
            done.stdout = done.stdout.replace(b"new/late.py\0", b"")
        return done

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(subprocess, "run", run_git)
    for options in ((), ("--changed",)):
        result = run("index", *options)
        assert result.exit_code == 3
        assert "new: the folder can't be listed: change its permissions" in result.stderr
        assert "0 removed" in result.stderr
    monkeypatch.undo()
