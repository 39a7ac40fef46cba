"""What this package takes from vLLM: all of it through one module, all of it there, and what is said where it isn't."""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from jina_embeddings.plugin import compat
from jina_embeddings.plugin.compat import HOOKS, Hook, MovedError, fits, imported, require

PLUGIN = Path(compat.__file__).parent
# What vLLM documents for programs that use it.
PUBLIC = {"vllm.lora.request.LoRARequest"}
# fa_utils has it only where vLLM is built for GPUs.
ON_GPUS = {"vllm.v1.attention.backends.fa_utils:flash_attn_varlen_func"}


def imports_of_vllm(path: Path) -> list[str]:
    """The names that a file imports from vLLM when it runs, so without those for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.partition(".")[0] == "vllm"]


def test_the_plugin_reaches_into_vllm_by_its_hooks_only() -> None:
    found = {(path.name, name) for path in PLUGIN.rglob("*.py") for name in imports_of_vllm(path)}
    assert {entry for entry in found if entry[1] not in PUBLIC} == set()


@pytest.mark.long
@pytest.mark.parametrize("name", [name for hook in HOOKS.values() for name in hook.names if name not in ON_GPUS])
def test_the_installed_vllm_has_what_a_hook_imports(name: str) -> None:
    pytest.importorskip("vllm")
    hook = next(key for key, value in HOOKS.items() if name in value.names)
    assert imported(hook, name.replace(":", ".").rpartition(".")[2]) is not None


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vLLM that has none of these."""
    monkeypatch.setitem(HOOKS, "gone", Hook(("vllm.nowhere:thing",), ("part.inner",), "nothing of it works", "Gone."))
    monkeypatch.setattr(compat, "_version", lambda: "9.9")


@pytest.mark.usefixtures("moved")
def test_what_has_moved_is_named_with_what_stops_working() -> None:
    with pytest.raises(MovedError, match=r"vLLM 9\.9 has no vllm\.nowhere\.thing.*: nothing of it works\. Install"):
        imported("gone", "thing")
    with pytest.raises(MovedError, match=r"has no SimpleNamespace\.part\.inner"):
        require("gone", SimpleNamespace(part=SimpleNamespace()))
    require("gone", SimpleNamespace(part=SimpleNamespace(inner=0)))


@pytest.mark.usefixtures("moved")
def test_what_can_do_without_says_so_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not fits("gone", SimpleNamespace())
    assert "nothing of it works" in caplog.text


def test_layers_with_other_parts_are_left_to_vllm() -> None:
    pytest.importorskip("vllm")
    from fake_decoder import fake_model
    from jina_embeddings.plugin.packed.decoder import PackDecoder

    model = fake_model()
    assert PackDecoder.of(model) is not None
    del model.language_model.model.layers[1].self_attn.rotary_emb.mrope_section
    assert PackDecoder.of(model) is None


def test_where_norms_choose_their_kernels_themselves_none_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM 0.34 is to have no IR."""
    from jina_embeddings.plugin.kernels import norms

    def missing(hook: str, name: str) -> None:
        raise MovedError(hook, name)

    monkeypatch.setattr(norms, "imported", missing)
    norms._operations.cache_clear()
    try:
        with norms.fused_norms(torch.device("cuda")):
            assert norms._operations() == ()
    finally:
        norms._operations.cache_clear()


def test_without_attention_layers_packs_say_what_does_not_fit() -> None:
    from jina_embeddings.plugin.packed.attention import install

    with pytest.raises(MovedError, match="packs don't reach vLLM's layers"):
        install({"mlp": SimpleNamespace()})
