"""Whether vLLM's processes are forked or spawned."""

from __future__ import annotations

import os

import pytest
import torch

from jina_embeddings.engine import choice
from jina_embeddings.engine.vllm.launch import spawn_if_forks_lack_cuda

METHOD = "VLLM_WORKER_MULTIPROC_METHOD"


@pytest.mark.parametrize(("refused", "method"), [(True, "spawn"), (False, None)])
def test_processes_are_spawned_where_torch_refuses_cuda_in_forked_ones(
    monkeypatch: pytest.MonkeyPatch, refused: bool, method: str | None
) -> None:
    own = os.getpid()
    # For monkeypatch to restore what the call sets.
    monkeypatch.setenv(METHOD, "")
    monkeypatch.delenv(METHOD)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: os.getpid() != own and refused)
    spawn_if_forks_lack_cuda()
    assert os.environ.get(METHOD) == method


def test_a_method_that_the_user_has_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(METHOD, "forkserver")
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    spawn_if_forks_lack_cuda()
    assert os.environ[METHOD] == "forkserver"


def test_looking_for_a_gpu_does_not_ask_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise torch would refuse CUDA in the process that vLLM forks."""
    variable = "PYTORCH_NVML_BASED_CUDA_CHECK"
    monkeypatch.setenv(variable, "")
    monkeypatch.delenv(variable)
    asked_nvml: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked_nvml.append(os.environ.get(variable) == "1"))
    monkeypatch.setattr(choice, "_installed", lambda module: True)
    choice.choose_engine("auto")
    assert asked_nvml == [True]
