"""Where the clinical models lie and how they run."""

from dataclasses import dataclass, field

from editgrpo.config.check import require
from editgrpo.config.components import DType


@dataclass(frozen=True, kw_only=True, slots=True)
class ClinicalConfig:
    """The models that annotate, label and score reports: RaTE-NER, CheXbert, RadGraph, ...

    Nothing here is needed by what works offline (annotator, labeler and reward `rules`).
    """

    models: str | None = None
    """Folder with one sub-folder a model; None takes EDITGRPO_MODELS, else ~/.cache/editgrpo/models
    (docs/models.md)."""

    sources: dict[str, str] = field(default_factory=dict)
    """Model name to a local folder, or to a Hub id with an optional `@revision`, in place of the
    pinned source."""

    offline: bool = False
    """Never download; a model that is missing is an error that names the command to get it."""

    device: str = "auto"
    """`auto` (the process's GPU if there is one), `cpu`, `cuda` or `cuda:N`."""

    dtype: DType = DType.FLOAT32
    """Number format of the models; anything but float32 changes scores in the third decimal."""

    batch_tokens: int = 8192
    """Most tokens in one batch of a model, padding included.

    On a CPU all models but GREEN take 512 at most.
    """

    store: str | None = None
    """Folder of annotations kept on disk (`editgrpo annotate` fills it); None keeps none.

    It holds words of the reports, see docs/data.md.
    """

    store_writes: bool = False
    """Whether what is not yet in the store is added to it; training and scoring only read."""

    journal: str | None = None
    """Folder that keeps whatever is annotated besides the store; None keeps it in memory alone.

    The last bits of what a model says of a text depend on its batch. A run that is resumed reads
    them from here; training sets its run folder.
    """

    green_endpoint: str | None = None
    """Base URL of a server of OpenAI's protocol that serves the judge GREEN, such as
    `http://localhost:8000/v1`; None runs it in this process.

    A key goes into the environment variable EDITGRPO_GREEN_KEY, never in here.
    """

    green_model: str = "StanfordAIMI/GREEN-RadLlama2-7b"
    """What the server calls the judge."""

    green_concurrency: int = 16
    """Questions that the server is asked at the same time."""

    green_timeout_s: float = 120.0
    """Seconds after which a question that the server does not answer is put again."""

    green_retries: int = 4
    """How often a question is put again: busy server (429), server error (5xx), no answer."""

    crimson_endpoint: str | None = None
    """Base URL of a server of OpenAI's protocol that is CRIMSON's judge; None has none.

    A key goes into the environment variable EDITGRPO_CRIMSON_KEY, never in here.
    """

    crimson_model: str = "rajpurkarlab/medgemma-4b-it-crimson"
    """What the server calls the judge."""

    crimson_prompt: str | None = None
    """Text file with the question to the judge (docs/metrics.md); None takes this package's own
    wording, which is not the authors'."""

    crimson_concurrency: int = 16
    """Questions that the server is asked at the same time."""

    crimson_timeout_s: float = 120.0
    """Seconds after which a question that the server does not answer is put again."""

    crimson_retries: int = 4
    """How often a question is put again: busy server (429), server error (5xx), no answer, an
    answer that is no judgement."""

    def __post_init__(self) -> None:
        known = self.device in ("auto", "cpu", "cuda") or (
            self.device.startswith("cuda:") and self.device[5:].isdigit()
        )
        require(known, "clinical.device", self.device, "auto, cpu, cuda or cuda:N")
        require(self.batch_tokens >= 1, "clinical.batch_tokens", self.batch_tokens, "at least 1")
        require(
            self.store is not None or not self.store_writes,
            "clinical.store_writes",
            self.store_writes,
            "false unless clinical.store names a folder",
        )
        self._check_judge("green")
        self._check_judge("crimson")

    def _check_judge(self, judge: str) -> None:
        url = getattr(self, f"{judge}_endpoint")
        require(
            url is None or (url.startswith(("http://", "https://")) and "@" not in url),
            f"clinical.{judge}_endpoint",
            "(not shown)" if url is not None and "@" in url else url,
            "an http or https URL without a user or password",
        )
        for name, least in (("concurrency", 1), ("timeout_s", 0.001), ("retries", 0)):
            value = getattr(self, f"{judge}_{name}")
            require(value >= least, f"clinical.{judge}_{name}", value, f"at least {least}")
