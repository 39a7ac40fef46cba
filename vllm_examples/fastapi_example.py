"""The model inside a FastAPI application of one's own: one model for all requests, which share its batches.

python vllm_examples/fastapi_example.py
uvicorn --app-dir vllm_examples fastapi_example:app
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import InputError


class Question(BaseModel):
    text: str


class Documents(BaseModel):
    texts: list[str]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads the model once; it is closed with the application."""
    async with JinaEmbeddings(os.environ.get("MODEL", "pocket"), engine=os.environ.get("ENGINE", "auto")) as model:
        app.state.model = model
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/query")
async def query(question: Question, request: Request) -> list[float]:
    """The event loop goes on while the model works, and requests of one moment run together."""
    model: JinaEmbeddings = request.app.state.model
    try:
        return list((await model.aencode_query(question.text)).tolist())
    except InputError as error:
        raise HTTPException(422, str(error)) from error


@app.post("/documents")
async def documents(given: Documents, request: Request) -> list[list[float]]:
    model: JinaEmbeddings = request.app.state.model
    try:
        return list((await model.aencode_document(given.texts)).tolist())
    except InputError as error:
        raise HTTPException(422, str(error)) from error


def main() -> None:
    """Asks the application as a client would."""
    from fastapi.testclient import TestClient

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()
    os.environ |= {"MODEL": arguments.model, "ENGINE": arguments.engine}
    texts = ["Bread is baked from flour and water.", "The moon goes around the earth."]
    with TestClient(app) as client:
        vectors = client.post("/documents", json={"texts": texts}).json()
        question = client.post("/query", json={"text": "how is bread made"}).json()
        assert client.post("/query", json={"text": ""}).status_code == 422
    scores = JinaEmbeddings.similarity(question, vectors)
    print(texts[int(scores.argmax())])
    assert scores.argmax() == 0


if __name__ == "__main__":
    main()
