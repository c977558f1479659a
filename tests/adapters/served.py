"""The library for suites that run in environments of other libraries: opened, and connected in both ways."""

from __future__ import annotations

import os
from functools import cache

import httpx2
from starlette.testclient import TestClient

import mnemodex
from mnemodex.deploy.app import http_app
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import ServerSettings

LIBRARY = os.environ["MNEMODEX_LIBRARY"]
URL = "http://localhost"


@cache
def opened():
    return mnemodex.open(LIBRARY)


@cache
def app():
    settings = ServerSettings(memories={"library": LIBRARY})
    return http_app(settings, Service(settings))


@cache
def connected():
    return mnemodex.connect(URL, client=TestClient(app()))


async def awaited():
    return await mnemodex.aconnect(URL, client=httpx2.AsyncClient(transport=httpx2.ASGITransport(app())))
