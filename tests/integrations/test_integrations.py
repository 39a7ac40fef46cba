"""The model inside LangChain, LlamaIndex and Haystack: their stores and pipelines give the model's results."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.errors import EmptyInputError, InputError, OptionError
from jina_embeddings.integrations import haystack, langchain, llama_index

TEXTS = ["bread needs flour and water", "the moon goes around the earth", "a cat sleeps all day"]
QUERY = "what goes around the earth"


@pytest.fixture(scope="module")
def model() -> Iterator[JinaEmbeddings]:
    with JinaEmbeddings(engine="fake") as model:
        yield model


def own(model: JinaEmbeddings, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """The model's own vectors of the texts and of the query."""
    passages = model.encode_text(TEXTS, task="retrieval", prompt_name="passage", **options)
    return passages, model.encode_text(QUERY, task="retrieval", prompt_name="query", **options)


def test_langchain_gives_the_models_own_vectors(model: JinaEmbeddings) -> None:
    embeddings = langchain.LangChainEmbeddings(model, truncate_dim=256)
    passages, query = own(model, truncate_dim=256)
    for found in (embeddings.embed_documents(TEXTS), asyncio.run(embeddings.aembed_documents(TEXTS))):
        assert np.array_equal(np.array(found, dtype=np.float32), passages)
        assert isinstance(found[0][0], float)
    for vector in (embeddings.embed_query(QUERY), asyncio.run(embeddings.aembed_query(QUERY))):
        assert np.array_equal(np.array(vector, dtype=np.float32), query)
    assert embeddings.embed_documents([]) == asyncio.run(embeddings.aembed_documents([])) == []
    with pytest.raises(EmptyInputError):
        embeddings.embed_query("")


def test_langchain_takes_a_name_and_empty_documents(model: JinaEmbeddings) -> None:
    embeddings = langchain.LangChainEmbeddings("fake", engine="fake", options={"max_model_len": 64})
    assert embeddings.model is langchain.LangChainEmbeddings("fake", engine="fake", options={"max_model_len": 64}).model
    assert embeddings.model.options.max_model_len == 64
    expected = model.encode_text(["one", " ", "two"], prompt_name="passage")
    for found in (
        embeddings.embed_documents(["one", "", "two"]),
        asyncio.run(embeddings.aembed_documents(["one", "", "two"])),
    ):
        assert np.array_equal(np.array(found, dtype=np.float32), expected)
    with pytest.raises(OptionError, match="loaded already"):
        langchain.LangChainEmbeddings(model, engine="fake")


def test_an_empty_document_fails_no_batch_anywhere(model: JinaEmbeddings) -> None:
    expected = model.encode_text(["one", " ", "two"], prompt_name="passage")
    texts = ["one", "", "two"]
    embedding = llama_index.LlamaIndexEmbedding(model)
    embedder = haystack.DocumentEmbedder("fake", engine="fake")
    documents = [Document(content=text) for text in texts]
    for found in (
        embedding.get_text_embedding_batch(texts),
        asyncio.run(embedding.aget_text_embedding_batch(texts)),
        [document.embedding for document in embedder.run(documents)["documents"]],
        [document.embedding for document in asyncio.run(embedder.run_async(documents))["documents"]],
    ):
        assert np.array_equal(np.array(found, dtype=np.float32), expected)
    assert np.array_equal(np.array(embedding.get_text_embedding(""), dtype=np.float32), expected[1])
    with pytest.raises(EmptyInputError):
        embedding.get_query_embedding("")


def test_langchain_refuses_one_text_in_place_of_several(model: JinaEmbeddings) -> None:
    embeddings = langchain.LangChainEmbeddings(model)
    for wrong in ("one text", b"bytes", None):
        with pytest.raises(InputError, match="a list of texts"):
            embeddings.embed_documents(wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="a list of texts"):
            asyncio.run(embeddings.aembed_documents(wrong))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="use embed_documents"):
        embeddings.embed_query(["a"])  # type: ignore[arg-type]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"task": "text-matching"},
    {"truncate_dim": 256},
    {"max_length": 3},
    {"options": {"max_model_len": 4}},
    {"options": {"normalize": False}},
]


def test_llama_index_caches_tell_settings_apart() -> None:
    """The cache of the ingestion pipeline, and the cache of texts, which distinguishes queries and passages."""
    store, ingested = SimpleKVStore(), IngestionCache()
    nodes = [TextNode(text=text) for text in TEXTS]
    for options in SETTINGS:
        embedding = llama_index.LlamaIndexEmbedding("fake", engine="fake", **options)
        expected = embedding.get_text_embedding_batch(TEXTS)
        embedding.embeddings_cache = store
        pipeline = IngestionPipeline(transformations=[embedding], cache=ingested)
        for _ in range(2):
            assert [node.embedding for node in pipeline.run(nodes=nodes)] == expected
            assert embedding.get_text_embedding_batch(TEXTS) == expected
            assert asyncio.run(embedding.aget_text_embedding_batch(TEXTS)) == expected
        query = llama_index.LlamaIndexEmbedding("fake", engine="fake", **options).get_query_embedding(TEXTS[0])
        assert embedding.get_query_embedding(TEXTS[0]) == query
    engine: Any = embedding._model._engine
    before = engine.num_calls
    embedding.get_text_embedding_batch(TEXTS)
    assert engine.num_calls == before


@pytest.mark.parametrize("options", SETTINGS)
def test_llama_index_is_serialised_copied_and_pickled(options: dict[str, Any]) -> None:
    embedding = llama_index.LlamaIndexEmbedding("fake", engine="fake", embed_batch_size=7, **options)
    expected = embedding.get_text_embedding_batch(TEXTS)
    for other in (
        llama_index.LlamaIndexEmbedding.from_dict(embedding.to_dict()),
        llama_index.LlamaIndexEmbedding.from_json(embedding.to_json()),
        llama_index.LlamaIndexEmbedding(embedding._model, embed_batch_size=7, **_without(options, "options")),
        copy.deepcopy(embedding),
        copy.copy(embedding),
        pickle.loads(pickle.dumps(embedding)),
    ):
        assert other.to_dict() == embedding.to_dict()
        assert other._model is embedding._model
        assert other.get_text_embedding_batch(TEXTS) == expected


@pytest.mark.parametrize("options", SETTINGS)
def test_langchain_and_haystack_are_copied_and_serialised(options: dict[str, Any]) -> None:
    embeddings = langchain.LangChainEmbeddings("fake", engine="fake", **options)
    for other in (copy.deepcopy(embeddings), copy.copy(embeddings)):
        assert other.model is embeddings.model
        assert other.embed_documents(TEXTS) == embeddings.embed_documents(TEXTS)
    embedder = haystack.TextEmbedder("fake", engine="fake", **options)
    expected = embedder.run(QUERY)
    for copied in (copy.deepcopy(embedder), haystack.TextEmbedder.from_dict(embedder.to_dict())):
        assert copied.run(QUERY) == expected
        assert copied._model is embedder._model
        assert copied.to_dict() == embedder.to_dict()


def _without(options: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != name}


def test_a_langchain_store_searches_with_the_model(model: JinaEmbeddings) -> None:
    store = InMemoryVectorStore(langchain.LangChainEmbeddings(model))
    store.add_texts(TEXTS)
    assert [found.page_content for found in store.similarity_search(QUERY, k=1)] == [TEXTS[1]]
    retriever = store.as_retriever(search_kwargs={"k": 1})
    assert asyncio.run(retriever.ainvoke(QUERY))[0].page_content == TEXTS[1]


def test_another_task_and_its_prompts(model: JinaEmbeddings) -> None:
    embeddings = langchain.LangChainEmbeddings(model, task="text-matching")
    assert embeddings.embed_documents(["a text"])[0] == embeddings.embed_query("a text")
    code = langchain.LangChainEmbeddings(model, task="code").embed_query("a text")
    expected = model.encode_text("a text", task="code", prompt_name="query")
    assert np.array_equal(np.array(code, dtype=np.float32), expected)


def test_llama_index_gives_the_models_own_vectors(model: JinaEmbeddings) -> None:
    embedding = llama_index.LlamaIndexEmbedding(model, truncate_dim=256)
    assert isinstance(embedding, BaseEmbedding)
    passages, query = own(model, truncate_dim=256)
    for found in (
        embedding.get_text_embedding_batch(TEXTS),
        asyncio.run(embedding.aget_text_embedding_batch(TEXTS)),
        [embedding.get_text_embedding(text) for text in TEXTS],
    ):
        assert np.array_equal(np.array(found, dtype=np.float32), passages)
    for vector in (embedding.get_query_embedding(QUERY), asyncio.run(embedding.aget_query_embedding(QUERY))):
        assert np.array_equal(np.array(vector, dtype=np.float32), query)
    assert embedding.model_name == "fake"


def test_llama_index_embeds_in_batches() -> None:
    engine = FakeEngine()
    model = JinaEmbeddings(engine=engine)
    llama_index.LlamaIndexEmbedding(model).get_text_embedding_batch([f"text {number}" for number in range(128)])
    assert engine.num_calls == 2


def test_a_llama_index_searches_with_the_model(model: JinaEmbeddings) -> None:
    index = VectorStoreIndex(
        [TextNode(text=text) for text in TEXTS], embed_model=llama_index.LlamaIndexEmbedding(model)
    )
    (found,) = index.as_retriever(similarity_top_k=1).retrieve(QUERY)
    assert found.node.get_content() == TEXTS[1]


def test_llama_index_takes_images(model: JinaEmbeddings, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", (56, 56), "red").save(path)
    embedding = llama_index.LlamaIndexEmbedding(model)
    expected = model.encode_image(path)
    for image in (str(path), path, io.BytesIO(path.read_bytes())):
        assert np.array_equal(np.array(embedding.get_image_embedding(image), dtype=np.float32), expected)
    assert np.array_equal(np.array(asyncio.run(embedding.aget_image_embedding(str(path))), np.float32), expected)


def test_haystack_gives_the_models_own_vectors(model: JinaEmbeddings) -> None:
    passages, query = own(model, truncate_dim=256)
    texts = haystack.TextEmbedder("fake", engine="fake", truncate_dim=256)
    documents = haystack.DocumentEmbedder("fake", engine="fake", truncate_dim=256)
    given = [Document(content=text, meta={"number": number}) for number, text in enumerate(TEXTS)]
    for answer in (documents.run(given), asyncio.run(documents.run_async(given))):
        found = answer["documents"]
        assert np.array_equal(np.array([document.embedding for document in found], dtype=np.float32), passages)
        assert [document.meta for document in found] == [document.meta for document in given]
    assert [document.embedding for document in given] == [None, None, None]
    for answer in (texts.run(QUERY), asyncio.run(texts.run_async(QUERY))):
        assert np.array_equal(np.array(answer["embedding"], dtype=np.float32), query)
    assert documents.run([]) == {"documents": []}


def test_a_haystack_pipeline_searches_with_the_model_also_after_serialisation() -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing = Pipeline()
    indexing.add_component("embedder", haystack.DocumentEmbedder("fake", engine="fake"))
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder.documents", "writer.documents")
    indexing.run({"embedder": {"documents": [Document(content=text) for text in TEXTS]}})

    asking = Pipeline()
    asking.add_component("embedder", haystack.TextEmbedder("fake", engine="fake"))
    written = Pipeline.loads(asking.dumps(), allowed_modules=[haystack.__name__])
    for pipeline in (asking, written):
        pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
        pipeline.connect("embedder.embedding", "retriever.query_embedding")
        answer = pipeline.run({"embedder": {"text": QUERY}})
        assert [document.content for document in answer["retriever"]["documents"]] == [TEXTS[1]]


def test_haystack_components_of_equal_settings_share_a_model() -> None:
    texts, documents = haystack.TextEmbedder("fake", engine="fake"), haystack.DocumentEmbedder("fake", engine="fake")
    other = haystack.TextEmbedder("fake", engine="fake", options={"max_model_len": 64})
    for embedder in (texts, documents, other):
        embedder.warm_up()
    assert texts._model is documents._model
    assert other._model is not texts._model


def test_what_a_haystack_component_can_not_embed_is_refused() -> None:
    with pytest.raises(InputError, match="use DocumentEmbedder"):
        haystack.TextEmbedder("fake", engine="fake").run([Document(content="a")])
    embedder = haystack.DocumentEmbedder("fake", engine="fake")
    with pytest.raises(InputError, match="use TextEmbedder"):
        embedder.run("a text")
    with pytest.raises(InputError, match="has no text"):
        embedder.run([Document(content=None)])


@pytest.mark.parametrize(
    ("package", "module", "extra"),
    [
        ("langchain_core", "langchain", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("haystack", "haystack", "haystack"),
    ],
)
def test_a_framework_that_is_missing_is_named_with_its_extra(package: str, module: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from jina_embeddings.errors import DependencyError\n"
        f"try:\n import jina_embeddings.integrations.{module}\nexcept DependencyError as error:\n print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert f"pip install 'jina-embeddings-vllm[{extra}]'" in done.stdout
