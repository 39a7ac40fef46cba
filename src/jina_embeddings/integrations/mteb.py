"""mteb: the model as an encoder of the Massive Text Embedding Benchmark, for texts, images and late interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DependencyError, InputError, MultivectorUnavailableError
from ..torch_companions import repair
from ..vectors.similarity import maxsim
from .models import model_of

# mteb imports transformers, which refuses to work beside torchvision of another build.
repair()

try:
    from mteb.languages import PROGRAMMING_LANGS
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.models.search_wrappers import SearchEncoderWrapper
    from mteb.types import PromptType
except ImportError:
    raise DependencyError("mteb is not installed: pip install 'jina-embeddings-vllm[mteb]'") from None

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

_SEARCHES = ("Retrieval", "Reranking", "DocumentUnderstanding", "CentricQA", "Compositionality")
"""Ends of the types of tasks that ask with one thing and look for another; all others compare like with like."""


class MTEBEncoder(AbsEncoder):
    """A `JinaEmbeddings` as mteb wants it: dense vectors, for every kind of task.

        results = mteb.evaluate(MTEBEncoder("jinaai/jina-embeddings-v4"), mteb.get_tasks(["SciFact", "STS12"]))

    The task follows from the benchmark's: `code` where it is about programming, `retrieval` where something is looked
    for, `text-matching` elsewhere; a model that lacks the one has its own. What has a text and a picture is the
    normalised sum of both vectors.

    Args:
        model: a `JinaEmbeddings`, or the name of one, as for `JinaEmbeddings`.
        truncate_dim, batch_size, max_length, max_pixels: as in `JinaEmbeddings.encode_text` and `encode_image`.
        engine, revision, options: of a model that is given by name.
    """

    def __init__(
        self,
        model: JinaEmbeddings | str,
        *,
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        max_pixels: int | None = None,
        engine: str = "auto",
        revision: str | None = None,
        options: dict[str, Any] | None = None,
    ):
        self.model = model_of(model, engine, revision, options)
        self._form: dict[str, Any] = {"truncate_dim": truncate_dim, "batch_size": batch_size}
        self._max_length, self._max_pixels = max_length, max_pixels
        self.mteb_model_meta: ModelMeta = ModelMeta.create_empty(
            {
                "name": _meta_name(self.model.info.name),
                "revision": self.model.info.revision,
                "modalities": ["text", "image"],
                "embed_dim": truncate_dim or self.model.info.hidden_size,
                "max_tokens": self.model.options.max_model_len,
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> Any:
        """Vectors (inputs, dimension).

        inputs: a DataLoader of batches with `text`, `image` or both.

        Raises InputError for inputs with neither.
        """
        task, prompt_name = self._task_of(task_metadata), "passage" if prompt_type is PromptType.document else "query"
        columns: dict[str, list[Any]] = {"text": [], "image": []}
        for batch in inputs:
            for name, column in columns.items():
                column.extend(batch.get(name, ()))
        found = []
        if columns["text"]:
            # White space is a text; nothing at all is none, and benchmarks have such documents.
            texts = [text or " " for text in columns["text"]]
            options = {"task": task, "prompt_name": prompt_name, "max_length": self._max_length, **self._form}
            found.append(self.model.encode_text(texts, **options))
        if columns["image"]:
            options = {"task": task, "max_pixels": self._max_pixels, **self._form}
            found.append(self.model.encode_image(columns["image"], **options))
        if not found:
            raise InputError(f"{task_metadata.name} has inputs with neither text nor image")
        return self._joined(found)

    def _joined(self, found: list[Any]) -> Any:
        """One result for each input of what came of its text and of its picture."""
        total = np.sum(found, axis=0)
        return total if len(found) == 1 else total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)

    def _task_of(self, metadata: Any) -> str:
        task = "text-matching"
        if _is_about_programming(metadata):
            task = "code"
        elif metadata.type.endswith(_SEARCHES):
            task = "retrieval"
        return task if task in self.model.info.tasks else self.model.task


class MTEBLateInteraction:
    """Late interaction: MaxSim of multi-vectors, for tasks that look for something. Arguments as `MTEBEncoder`'s.

    mteb compares a question with every document, so ten thousand are about the most that it is good for.

    Raises MultivectorUnavailableError for a model that has no multi-vectors.
    """

    def __init__(self, model: JinaEmbeddings | str, **options: Any):
        encoder: Any = _MultivectorEncoder(model, **options)
        self.mteb_model_meta = encoder.mteb_model_meta
        # Has `encode` too, by which mteb would take it for an encoder of tasks that need one vector for an input.
        self._searcher = SearchEncoderWrapper(encoder)

    def index(self, corpus: Any, **arguments: Any) -> None:
        self._searcher.index(corpus, **arguments)

    def search(self, queries: Any, **arguments: Any) -> Any:
        """For each query's id the documents' ids and scores."""
        return self._searcher.search(queries, **arguments)


class _MultivectorEncoder(MTEBEncoder):
    def __init__(self, model: JinaEmbeddings | str, *, batch_size: int | None = None, **options: Any):
        super().__init__(model, batch_size=batch_size, **options)
        info = self.model.info
        if info.multivector_dim is None:
            raise MultivectorUnavailableError(f"{info.name} has no projector, so no multi-vectors can be compared")
        self._form = {"return_multivector": True, "batch_size": batch_size}
        self.mteb_model_meta = self.mteb_model_meta.model_copy(
            update={
                "embed_dim": info.multivector_dim,
                "similarity_fn_name": ScoringFunction.MAX_SIM,
                "model_type": ["late-interaction"],
            }
        )

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """(queries, documents). mteb's own pads with zeros, which win over cosines below 0."""
        import torch

        documents = [tokens.numpy() for tokens in embeddings2]
        return torch.from_numpy(np.stack([maxsim(query.numpy(), documents) for query in embeddings1]))

    def _joined(self, found: list[Any]) -> Any:
        import torch

        return [torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True)]


def _is_about_programming(metadata: Any) -> bool:
    return (
        "Programming" in (metadata.domains or ())
        or any(language.endswith("-Code") for language in metadata.eval_langs)
        or not set(PROGRAMMING_LANGS).isdisjoint(metadata.languages)
    )


def _meta_name(name: str) -> str:
    """mteb files results under `organization/name`; a folder has none."""
    return name if name.count("/") == 1 and not name.startswith("/") else f"local/{name.rstrip('/').rpartition('/')[2]}"
