"""The peer of the server's benchmark: one memory behind plain FastAPI and uvicorn, one question after the other.

python benchmarks/serving_plain.py MEMORY PORT
"""

from __future__ import annotations

import sys
import threading

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

import mnemodex

app = FastAPI()
memory = mnemodex.open(sys.argv[1])
lock = threading.Lock()


class Question(BaseModel):
    index: str
    queries: list[str]
    k: int = 10


@app.post("/v1/search")
def search(asked: Question) -> dict:
    with lock:
        hits = memory.retriever(asked.index).search(asked.queries, asked.k).chunks()
    return {"hits": [[hit.to_json() for hit in one] for one in hits]}


@app.get("/readyz")
def readyz() -> dict:
    return {"status": "ready"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
