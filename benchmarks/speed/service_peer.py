"""A plain service of the same network, as a tutorial has it: FastAPI, torch and a blocking route.

    python -m benchmarks.speed.service_peer FOLDER THREADS

FOLDER holds the network that `benchmarks.speed.runtime_models.write_torch` writes. It prints its address once
it is ready. There are no gates, no queue and no limits; FastAPI runs the route in its pool of threads.
"""

import socket
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, File

from benchmarks.speed.runtime_process import assess_bytes, torch


def create_app(folder: Path, threads: int) -> FastAPI:
    """The service of a network in a folder, on so many of torch's threads."""
    app = FastAPI()
    assess = assess_bytes(torch(compiled=False)(folder, threads), folder)

    @app.post("/v1/assess")
    def answer(photo: Annotated[bytes, File()]) -> dict[str, float]:
        return {"cancer_probability": assess(photo)}

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main() -> None:
    """Serve until a signal ends it."""
    folder, threads = sys.argv[1:]
    app = create_app(Path(folder), int(threads))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listener])


if __name__ == "__main__":
    main()
