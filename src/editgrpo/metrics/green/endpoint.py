"""The judge on a server that speaks OpenAI's protocol, such as vLLM's.

Asked through `/completions`, not `/chat/completions`: the whole text is ours, so that the server's
chat template (the published checkpoint's own fits no such server) changes nothing.
"""

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError
from editgrpo.metrics.green.prompt import chat_text
from editgrpo.metrics.judges.server import Form, JudgeServer, ServerBackend

MAX_ANSWER_TOKENS = 1024
"""The server counts an answer's tokens by themselves; an answer of the judge has 200 to 500."""

_FORM = Form(
    path="completions",
    content=lambda prompt, _: {
        "prompt": chat_text(prompt),
        "max_tokens": MAX_ANSWER_TOKENS,
        "temperature": 0,
    },
    text_of=lambda answer: answer["choices"][0]["text"],
    bad_request="does it take prompts of 2048 and answers of 1024 tokens "
    "(vLLM: --max-model-len 4096)?",
)


def green_backend(config: ClinicalConfig, *, first_wait_s: float = 1.0) -> ServerBackend:
    """Return what asks the server of the judge GREEN; nothing is sent yet.

    Args:
        config: Names the server in `green_endpoint`.
        first_wait_s: Wait before a question is first put again; it doubles with each further time.

    Returns:
        The backend.

    Raises:
        ConfigError: no endpoint is given.
    """
    if config.green_endpoint is None:
        raise ConfigError("clinical.green_endpoint is null; it must be the URL of a server")
    server = JudgeServer(
        judge="green",
        url=config.green_endpoint,
        model=config.green_model,
        concurrency=config.green_concurrency,
        timeout_s=config.green_timeout_s,
        retries=config.green_retries,
        first_wait_s=first_wait_s,
    )
    return ServerBackend(server, _FORM)
