"""The vectors in other people's stores: FAISS, Qdrant in local mode, and PostgreSQL with pgvector.

python vllm_examples/vector_stores_example.py faiss qdrant
python vllm_examples/vector_stores_example.py pgvector --database postgresql://localhost/notes
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from jina_embeddings import JinaEmbeddings

PASSAGES = [
    "Bread is baked from flour, water, salt and yeast.",
    "The moon goes around the earth in a month.",
    "A violin has four strings, and is played with a bow.",
    "Snow is white because it scatters light of every colour.",
]
QUESTION, ANSWER = "How is bread made?", 0


def faiss_store(model: JinaEmbeddings) -> int:
    """Vectors have length 1, so that the inner product is the cosine."""
    import faiss

    vectors = model.encode_document(PASSAGES)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    _, found = index.search(model.encode_query([QUESTION]), 1)
    return int(found[0, 0])


def qdrant_store(model: JinaEmbeddings) -> int:
    """In local mode: give `url=` instead of `:memory:` for a server."""
    from qdrant_client import QdrantClient
    from qdrant_client.models import Distance, PointStruct, VectorParams

    vectors = model.encode_document(PASSAGES)
    client = QdrantClient(":memory:")
    client.create_collection("notes", VectorParams(size=vectors.shape[1], distance=Distance.COSINE))
    points = [
        PointStruct(id=number, vector=vector.tolist(), payload={"text": text})
        for number, (vector, text) in enumerate(zip(vectors, PASSAGES, strict=True))
    ]
    client.upsert("notes", points)
    found = client.query_points("notes", query=model.encode_query(QUESTION).tolist(), limit=1).points
    return int(found[0].id)


def pgvector_store(model: JinaEmbeddings, database: str) -> int:
    """PostgreSQL with the extension `vector`; `<=>` is the cosine distance."""
    import psycopg
    from pgvector.psycopg import register_vector

    vectors = model.encode_document(PASSAGES)
    with psycopg.connect(database) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        connection.execute(f"CREATE TEMPORARY TABLE notes (id int, text text, embedding vector({vectors.shape[1]}))")
        with connection.cursor() as cursor:
            rows = [(number, text, vector) for number, (text, vector) in enumerate(zip(PASSAGES, vectors, strict=True))]
            cursor.executemany("INSERT INTO notes VALUES (%s, %s, %s)", rows)
        question: np.ndarray = model.encode_query(QUESTION)
        row = connection.execute("SELECT id FROM notes ORDER BY embedding <=> %s LIMIT 1", (question,)).fetchone()
    assert row is not None
    return int(row[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", default=["faiss", "qdrant"], help="faiss, qdrant, pgvector")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--database", default="postgresql://localhost/postgres")
    arguments = parser.parse_args()
    stores: dict[str, Callable[[JinaEmbeddings], int]] = {
        "faiss": faiss_store,
        "qdrant": qdrant_store,
        "pgvector": lambda model: pgvector_store(model, arguments.database),
    }
    with JinaEmbeddings(arguments.model, engine=arguments.engine) as model:
        for name in arguments.stores:
            found = stores[name](model)
            print(f"{name}: {QUESTION} {PASSAGES[found]}")
            assert found == ANSWER


if __name__ == "__main__":
    main()
