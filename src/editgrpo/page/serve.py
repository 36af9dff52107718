"""Serves the page to this machine alone, from a private folder that is gone with it."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.config import ClinicalConfig
from editgrpo.data.pixels.decode import MAX_SOURCE_BYTES
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.errors import ConfigError
from editgrpo.model_files import check_model
from editgrpo.page.bench import Bench, Counts
from editgrpo.page.models import TriedModel

HOST = "127.0.0.1"
_MOST_MODELS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenPage:
    """A page that is being served.

    Attributes:
        address: Where a browser on this machine finds it.
        folder: Holds what is uploaded until it is read, and the phantoms; removed with the page.
        counts: What was done so far.
    """

    address: str
    folder: Path
    counts: Counts


@contextmanager
def open_page(
    models: Sequence[TriedModel],
    *,
    budget: PixelBudget | None = None,
    clinical: ClinicalConfig | None = None,
    port: int | None = None,
) -> Iterator[OpenPage]:
    """Serve a page on which models are tried, until the block ends.

    It is there at once, and says when the models are loaded. Only this machine can open it; nothing
    is fetched from or sent to elsewhere, and nothing of a session is kept or logged.

    Args:
        models: One or two, from `tried_model`; two write side by side.
        budget: How large films are read; None takes that of the prepared set that the first model's
            data settings name, else what the model's own files say.
        clinical: Where the clinical models lie and how they run; None takes the defaults.
        port: Port of the page; None takes the first free one from 7860 on.

    Yields:
        The page.

    Raises:
        ConfigError: there is no model or there are more than two, or the port is in use.
        ModelError: there is no such model, or it is of a kind that is not supported.
    """
    if not 1 <= len(models) <= _MOST_MODELS:
        raise ConfigError(f"{len(models)} models are given; the page takes one, or two")
    for model in models:
        check_model(model.path, None)
    folder = Path(tempfile.mkdtemp(prefix="editgrpo-page-"))
    with _environment(_settings(folder)):
        try:
            bench = Bench(models, folder, budget=budget, clinical=clinical or ClinicalConfig())
            with _served(bench, port) as address:
                yield OpenPage(address=address, folder=folder, counts=bench.counts)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _settings(folder: Path) -> dict[str, str]:
    """Return the environment in which Gradio and the Hub client tell nobody, and write there."""
    # Gradio looks whether the page answers. Of the two names, small letters go first.
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = ",".join(filter(None, (before, HOST)))
    return {
        "no_proxy": direct,
        "NO_PROXY": direct,
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "True",
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _served(bench: Bench, port: int | None) -> Iterator[str]:
    # Gradio reads its environment as it is imported.
    from gradio import routes

    from editgrpo.page.layout import STYLE, build_page, theme

    # Where a feature that is not used makes a folder; of the first page of a process otherwise.
    routes.DEFAULT_TEMP_DIR = os.environ["GRADIO_TEMP_DIR"]  # type: ignore[attr-defined]

    page = build_page(bench)
    try:
        _, address, _ = page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            inbrowser=False,
            inline=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            strict_cors=True,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            num_workers=0,
            max_file_size=MAX_SOURCE_BYTES,
            app_kwargs={"middleware": [(OnlyThisMachine, (), {})]},
            theme=theme(),
            css=STYLE,
        )
    except OSError as error:
        raise ConfigError(f"port {port or 7860}: is in use; give another --port") from error
    except ValueError as error:
        raise ConfigError(
            f"{HOST}: the page does not answer; look at the proxy settings, or try again when the "
            "machine is less busy"
        ) from error
    try:
        bench.start()
        yield address
    finally:
        try:
            bench.close()  # else the server waits for what is being written
        finally:
            page.close(verbose=False)


class OnlyThisMachine:
    """Lets a browser load nothing from elsewhere, and answers no other name than this machine's.

    A page of the web whose name is made to lead to this machine has that name in its requests.

    Args:
        app: What answers.
    """

    _NAMES = (HOST, "localhost")
    _HEADERS = (
        (
            b"content-security-policy",
            b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
            b"form-action 'none'; frame-ancestors 'none'",
        ),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    )

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if host.rpartition(":")[0] not in self._NAMES and host not in self._NAMES:
            await send({"type": "http.response.start", "status": 421, "headers": []})
            await send({"type": "http.response.body", "body": b"this page has no other name"})
            return

        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in self._HEADERS}
                kept = [pair for pair in message["headers"] if pair[0].lower() not in ours]
                message = {**message, "headers": [*kept, *self._HEADERS]}
            await send(message)

        await self._app(scope, receive, send_on)
