"""Clients of other services work with a running server once they are given its address."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs import picture
from jina_embeddings import JinaEmbeddings
from served import KEY, Served, serving

TEXTS = ["one text", "another one", "and a third: größer, 更大 🙂"]
MIN_COSINE = 0.99999


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("server")) as served:
        yield served


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    picture(56, 28, 1).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def require_same(found: Any, expected: Any) -> None:
    found = np.asarray(found, dtype=np.float32)
    assert found.shape == expected.shape
    assert float((found * expected).sum(axis=-1).min()) >= MIN_COSINE


@pytest.fixture
def expected(fake_model: JinaEmbeddings) -> Any:
    """The library's vectors for a request that names no task."""
    return fake_model.encode_text(TEXTS, task="text-matching")


def test_openai(server: Served, expected: Any) -> None:
    openai = pytest.importorskip("openai", reason="openai is not installed")
    options = {"base_url": f"{server.address}/v1", "api_key": KEY}

    async def ask() -> Any:
        async with openai.AsyncOpenAI(**options) as client:
            return await client.embeddings.create(model="jina-embeddings-v4", input=TEXTS)

    for answer in (
        openai.OpenAI(**options).embeddings.create(model="jina-embeddings-v4", input=TEXTS),
        openai.OpenAI(**options).embeddings.create(model="jina-embeddings-v4", input=TEXTS, encoding_format="float"),
        asyncio.run(ask()),
    ):
        require_same([entry.embedding for entry in answer.data], expected)
        assert answer.usage.total_tokens == answer.usage.prompt_tokens > 0
    assert [model.id for model in openai.OpenAI(**options).models.list()] == ["fake"]
    with pytest.raises(openai.AuthenticationError, match="API key"):
        openai.OpenAI(base_url=options["base_url"], api_key="wrong", max_retries=0).models.list()


def test_llama_index(server: Served, fake_model: JinaEmbeddings, picture_file: Path) -> None:
    jinaai = pytest.importorskip("llama_index.embeddings.jinaai", reason="llama-index-embeddings-jinaai is missing")

    def client(**options: Any) -> Any:
        made = jinaai.JinaEmbedding(api_key=KEY, model="jina-embeddings-v4", **options)
        made._api.api_url = f"{server.address}/v1/embeddings"
        made._api.api_key = KEY  # the asynchronous calls read the environment's otherwise
        return made

    passages = client(task="retrieval.passage", dimensions=256)
    expected = fake_model.encode_text(TEXTS, prompt_name="passage", truncate_dim=256)
    require_same(passages.get_text_embedding_batch(TEXTS), expected)
    require_same(asyncio.run(passages.aget_text_embedding_batch(TEXTS)), expected)
    query = fake_model.encode_text(TEXTS[0], task="retrieval.query")
    require_same(client(task="retrieval.query").get_query_embedding(TEXTS[0]), query)
    image = client().get_image_embedding(str(picture_file))
    require_same(image, fake_model.encode_image(picture_file, task="text-matching"))
    for form in ("binary", "ubinary"):
        bits = client(encoding_queries=form, task="retrieval.query").get_query_embedding(TEXTS[0])
        np.testing.assert_array_equal(bits, query > 0)
    chunks = client(task="retrieval.passage", late_chunking=True).get_text_embedding_batch(TEXTS)
    require_same(chunks, fake_model.encode_text(TEXTS, prompt_name="passage", late_chunking=True))
    with pytest.raises(RuntimeError, match="empty"):
        client().get_text_embedding("")


def test_langchain_community(
    server: Served, fake_model: JinaEmbeddings, expected: Any, picture_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jina = pytest.importorskip("langchain_community.embeddings.jina", reason="langchain-community is not installed")
    monkeypatch.setattr(jina, "JINA_API_URL", f"{server.address}/v1/embeddings")
    client = jina.JinaEmbeddings(jina_api_key=KEY, model_name="jina-embeddings-v4")
    require_same(client.embed_documents(TEXTS), expected)
    require_same(client.embed_query(TEXTS[0]), expected[0])
    image = client.embed_images([str(picture_file)])
    require_same(image, fake_model.encode_image([picture_file], task="text-matching"))
    # It sends nothing that only Jina's API has, and shows the `detail` of its errors.
    with pytest.raises(RuntimeError, match="empty"):
        client.embed_documents([])
    with pytest.raises(RuntimeError, match="API key"):
        jina.JinaEmbeddings(jina_api_key="wrong").embed_documents(TEXTS)


def test_langchain_openai(server: Served, expected: Any) -> None:
    langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    client = langchain_openai.OpenAIEmbeddings(
        base_url=f"{server.address}/v1", api_key=KEY, model="jina-embeddings-v4", check_embedding_ctx_length=False
    )
    require_same(client.embed_documents(TEXTS), expected)
    require_same(asyncio.run(client.aembed_query(TEXTS[0])), expected[0])


def test_haystack(server: Served, fake_model: JinaEmbeddings, picture_file: Path) -> None:
    embedders = pytest.importorskip(
        "haystack_integrations.components.embedders.jina", reason="jina-haystack is not installed"
    )
    rankers = pytest.importorskip("haystack_integrations.components.rankers.jina", reason="jina-haystack is missing")
    from haystack import Document
    from haystack.utils import Secret

    options: dict[str, Any] = {"api_key": Secret.from_token(KEY), "model": "jina-embeddings-v4"}
    embeddings = f"{server.address}/v1/embeddings"
    query = embedders.JinaTextEmbedder(**options, base_url=embeddings, task="retrieval.query").run(TEXTS[0])
    require_same(query["embedding"], fake_model.encode_text(TEXTS[0], task="retrieval.query"))
    assert query["meta"]["model"] == "jina-embeddings-v4"
    documents = [Document(content=text) for text in TEXTS]
    passages = embedders.JinaDocumentEmbedder(
        **options, base_url=embeddings, task="retrieval.passage", dimensions=128, batch_size=2, progress_bar=False
    ).run(documents)
    require_same(
        [document.embedding for document in passages["documents"]],
        fake_model.encode_text(TEXTS, prompt_name="passage", truncate_dim=128),
    )
    images = embedders.JinaDocumentImageEmbedder(**options, base_url=embeddings).run(
        [Document(meta={"file_path": str(picture_file)})]
    )
    require_same(
        [document.embedding for document in images["documents"]],
        fake_model.encode_image([picture_file], task="text-matching"),
    )
    ranked = rankers.JinaRanker(**options, base_url=f"{server.address}/v1/rerank", top_k=2).run(TEXTS[1], documents)
    assert ranked["documents"][0].content == TEXTS[1]
    assert len(ranked["documents"]) == 2


def test_chroma(server: Served, fake_model: JinaEmbeddings, expected: Any) -> None:
    functions = pytest.importorskip("chromadb.utils.embedding_functions", reason="chromadb is not installed")
    jina = functions.JinaEmbeddingFunction(
        api_key=KEY,
        model_name="jina-embeddings-v4",
        task="retrieval.passage",
        normalized=True,
        truncate=True,
        embedding_type="float",
        query_config={"task": "retrieval.query"},
    )
    jina._api_url = f"{server.address}/v1/embeddings"
    image = np.array(picture(56, 28, 1))
    require_same(
        np.stack(jina([TEXTS[0], image])),
        fake_model.encode([TEXTS[0], picture(56, 28, 1)], prompt_name="passage"),
    )
    require_same(np.stack(jina.embed_query(TEXTS)), fake_model.encode_text(TEXTS, task="retrieval.query"))
    openai = functions.OpenAIEmbeddingFunction(api_key=KEY, api_base=f"{server.address}/v1", model_name="m")
    require_same(np.stack(openai(TEXTS)), expected)


def test_cohere(server: Served, fake_model: JinaEmbeddings) -> None:
    cohere = pytest.importorskip("cohere", reason="cohere is not installed")
    client = cohere.ClientV2(api_key=KEY, base_url=server.address)
    options: dict[str, Any] = {"model": "jina-embeddings-v4", "input_type": "search_document"}
    passages = fake_model.encode_text(TEXTS, prompt_name="passage")
    answer = client.embed(texts=TEXTS, embedding_types=["float", "int8", "base64"], **options)
    require_same(answer.embeddings.float_, passages)
    require_same([np.frombuffer(base64.b64decode(row), "<f4") for row in answer.embeddings.base64], passages)
    assert len(answer.embeddings.int8[0]) == 2048
    assert answer.texts == TEXTS
    assert answer.meta.billed_units.input_tokens > 0

    file = io.BytesIO()
    picture(56, 28, 1).save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    image = fake_model.encode_image(picture(56, 28, 1))
    found = client.embed(images=[url], embedding_types=["float"], **{**options, "input_type": "image"})
    require_same(found.embeddings.float_, image[None])
    inputs = [
        {"content": [{"type": "text", "text": TEXTS[0]}]},
        {"content": [{"type": "image_url", "image_url": {"url": url}}]},
    ]
    both = client.embed(inputs=inputs, embedding_types=["float"], output_dimension=2048, **options)
    require_same(both.embeddings.float_, np.stack([passages[0], image]))
    with pytest.raises(cohere.UnprocessableEntityError, match="give texts"):
        client.embed(**options)


@pytest.mark.long
def test_litellm(server: Served, fake_model: JinaEmbeddings, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it asks the network for prices when it is imported
    litellm = pytest.importorskip("litellm", reason="litellm is not installed")
    options: dict[str, Any] = {"api_base": f"{server.address}/v1", "api_key": KEY}
    hosted = litellm.embedding(model="jina_ai/jina-embeddings-v4", input=TEXTS, **options)
    require_same([entry["embedding"] for entry in hosted.data], expected)
    openai = litellm.embedding(model="openai/jina-embeddings-v4", input=TEXTS, **options)
    require_same([entry["embedding"] for entry in openai.data], expected)
    ranked = litellm.rerank(model="jina_ai/jina-embeddings-v4", query=TEXTS[1], documents=TEXTS, top_n=2, **options)
    assert [ranked.results[0]["index"], len(ranked.results)] == [1, 2]
