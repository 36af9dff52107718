"""Where the clinical models lie and how they run."""

from dataclasses import field
from typing import Annotated

from editgrpo.config.check import Count, Limits, ZeroOrMore, require, settings
from editgrpo.config.components import DType


@settings("clinical")
class ClinicalConfig:
    """The models that annotate, label and score reports: RaTE-NER, CheXbert, RadGraph, ...

    Nothing here is needed by what works offline (annotator, labeler and reward `rules`).
    """

    models: str | None = None
    """Folder of the clinical models; None takes EDITGRPO_MODELS, else ~/.cache/editgrpo/models
    (docs/models.md)."""

    sources: dict[str, str] = field(default_factory=dict)
    """Other sources of models by name: a folder, or a Hub id with an optional `@revision`."""

    offline: bool = False
    """Never download; the error for a missing model names the command that gets it."""

    device: str = "auto"
    """`auto` (the process's GPU if there is one), `cpu`, `cuda` or `cuda:N`."""

    dtype: DType = DType.FLOAT32
    """Number format of the models; bfloat16 changes scores in the third decimal."""

    batch_tokens: Count = 8192
    """Most tokens in one batch of a model, padding included.

    On a CPU the limit is 512 for all models but GREEN.
    """

    store: str | None = None
    """Folder of annotations kept on disk (`editgrpo annotate` fills it); None keeps none.

    It holds words of the reports, see docs/data.md.
    """

    store_writes: bool = False
    """Add new annotations to the store; training and scoring only read it."""

    journal: str | None = None
    """Folder for annotations that are not in the store; None keeps them in memory.

    The last bits of an annotation depend on its batch, so a resumed run reads them from here.
    Training takes its run folder.
    """

    green_endpoint: str | None = None
    """Base URL of an OpenAI-compatible server of the judge GREEN, such as
    `http://localhost:8000/v1`; None runs GREEN in this process.

    Put the key of the server into the environment variable EDITGRPO_GREEN_KEY.
    """

    green_model: str = "StanfordAIMI/GREEN-RadLlama2-7b"
    """Name of GREEN on the server."""

    green_concurrency: Count = 16
    """Most requests to the server at the same time."""

    green_timeout_s: Annotated[float, Limits(ge=0.001)] = 120.0
    """Seconds to wait for an answer of the server before the request is sent again."""

    green_retries: ZeroOrMore = 4
    """How often a request is sent again after a busy server (429), a server error (5xx) or no
    answer."""

    crimson_endpoint: str | None = None
    """Base URL of a server of OpenAI's protocol that is CRIMSON's judge; None has none.

    A key goes into the environment variable EDITGRPO_CRIMSON_KEY, never in here.
    """

    crimson_model: str = "rajpurkarlab/medgemma-4b-it-crimson"
    """What the server calls the judge."""

    crimson_prompt: str | None = None
    """Text file with the question to the judge (docs/metrics.md); None takes this package's own
    wording, which is not the authors'."""

    crimson_concurrency: Count = 16
    """Questions that the server is asked at the same time."""

    crimson_timeout_s: Annotated[float, Limits(ge=0.001)] = 120.0
    """Seconds after which a question that the server does not answer is put again."""

    crimson_retries: ZeroOrMore = 4
    """How often a question is put again: busy server (429), server error (5xx), no answer, an
    answer that is no judgement."""

    def __post_init__(self) -> None:
        known = self.device in ("auto", "cpu", "cuda") or (
            self.device.startswith("cuda:") and self.device[5:].isdigit()
        )
        require(known, "clinical.device", self.device, "auto, cpu, cuda or cuda:N")
        require(
            self.store is not None or not self.store_writes,
            "clinical.store_writes",
            self.store_writes,
            "false unless clinical.store names a folder",
        )
        for name, url in (("green", self.green_endpoint), ("crimson", self.crimson_endpoint)):
            require(
                url is None or (url.startswith(("http://", "https://")) and "@" not in url),
                f"clinical.{name}_endpoint",
                "(not shown)" if url is not None and "@" in url else url,
                "an http or https URL without a user or password",
            )
