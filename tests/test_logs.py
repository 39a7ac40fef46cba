"""The level of logging: from the argument, from the environment, passed on to vLLM."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import OptionError
from jina_embeddings.logs import VARIABLE, configure


@pytest.fixture(autouse=True)
def logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The package's logger as in a new process."""
    logger = logging.getLogger("jina_embeddings")
    level, handlers, propagate = logger.level, logger.handlers[:], logger.propagate
    logger.setLevel(logging.NOTSET)
    logger.handlers, logger.propagate = [], True
    for variable in (VARIABLE, "VLLM_LOGGING_LEVEL"):
        # Set and removed, so that what a test leaves behind is undone.
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    yield logger
    logger.setLevel(level)
    logger.handlers, logger.propagate = handlers, propagate


def test_without_a_level_the_package_logs_as_a_library_does(logger: logging.Logger) -> None:
    configure()
    assert (logger.level, logger.handlers, logger.propagate) == (logging.NOTSET, [], True)
    assert os.environ["VLLM_LOGGING_LEVEL"] == "ERROR"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "DEBUG", "Info"])
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_level_is_set_for_the_package_and_for_vllm(
    monkeypatch: pytest.MonkeyPatch, logger: logging.Logger, level: str, way: str
) -> None:
    if way == "environment":
        monkeypatch.setenv(VARIABLE, level)
    configure(level if way == "argument" else None)
    assert logging.getLevelName(logger.level) == level.upper()
    assert os.environ["VLLM_LOGGING_LEVEL"] == level.upper()


def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, logger: logging.Logger) -> None:
    monkeypatch.setenv(VARIABLE, "error")
    configure("debug")
    assert logger.level == logging.DEBUG


def test_a_level_of_vllms_own_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
    configure("debug")
    assert os.environ["VLLM_LOGGING_LEVEL"] == "ERROR"


def test_messages_go_to_stderr_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Also if the application has its own handler on stderr."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler()])
    configure("info")
    configure("info")
    logging.getLogger("jina_embeddings.somewhere").info("a message")
    logging.getLogger("jina_embeddings.somewhere").debug("a detail")
    captured = capfd.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.endswith("INFO jina_embeddings.somewhere: a message")


def test_the_last_level_that_is_set_holds(logger: logging.Logger) -> None:
    configure("info")
    configure("debug")
    assert logger.level == logging.DEBUG
    assert len(logger.handlers) == 1


@pytest.mark.parametrize("first", [None, "warning"])
def test_a_level_that_comes_later_reaches_vllm_too(first: str | None) -> None:
    """VLLM_LOGGING_LEVEL that an earlier call has set doesn't count as the user's setting."""
    configure(first)
    configure("debug")
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"


def test_a_model_that_is_made_later_leaves_a_level_as_it_is(logger: logging.Logger) -> None:
    """Every model applies the environment's level, also after `--debug` was given."""
    configure("debug")
    configure()
    JinaEmbeddings(engine="fake").close()
    assert logger.level == logging.DEBUG
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"


def test_an_applications_own_handler_is_kept(logger: logging.Logger) -> None:
    handler = logging.NullHandler()
    logger.addHandler(handler)
    configure("debug")
    assert logger.handlers == [handler]
    assert logger.propagate


@pytest.mark.parametrize("level", ["verbose", "10"])
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_an_unknown_level_is_refused_with_the_list(monkeypatch: pytest.MonkeyPatch, level: str, way: str) -> None:
    if way == "environment":
        monkeypatch.setenv(VARIABLE, level)
    with pytest.raises(OptionError, match="debug, info, warning, error"):
        configure(level if way == "argument" else None)
