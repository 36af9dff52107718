"""The card of a prepared set: licence, agreement, counts, columns, and how to open it.

It is the folder's README.md, and its header tells `datasets.load_dataset` what lies where. The same
preparation gives the same card: it holds no date, host or path.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from editgrpo.data.prepared.flow import WITH_BOXES, FlowKind
from editgrpo.data.prepared.licences import DATASETS, DatasetCard, Sharing
from editgrpo.data.study import Split
from editgrpo.errors import ConfigError, nearest_name
from editgrpo.markdown_pages import render_page

__all__ = ["DATASETS", "DatasetCard", "Sharing", "card_text"]

_SHARING: dict[Sharing, str] = {
    Sharing.FORBIDDEN: (
        "**Do not share this folder.** It may not be uploaded, published or copied to where others "
        "can read it, whole or in part; hiding identifiers does not change that."
    ),
    Sharing.OWN_JUDGEMENT: (
        "**Find out whether this folder may be shared before you share it.** editgrpo does not "
        "know where its studies come from."
    ),
    Sharing.FREE: "This folder may be shared.",
}
# How identifiers and times are described, as they are and hidden.
_AS_THEY_ARE = (
    "As in the source.",
    "ISO 8601 local time, or a number of days; it orders the studies of a patient",
)
_HIDDEN = (
    "Those of patients, studies and images are HMAC-SHA256 of the original ones, with a key of "
    "fingerprint `{fingerprint}` that is not in this folder. Where the key is, "
    '`Redactor.from_key_file("KEYFILE").identifier("ORIGINAL")` of `editgrpo.data.redact` gives '
    "the name of an original. Texts and pixels are as in the source.",
    "days since the patient's first study here",
)
_IMAGES_SHOWN = "images shown, prior ones included"  # a row of flow.py
_UNASSIGNED = "unassigned"
_ALL = "all"
_NAME_OF_KIND: dict[str, str] = {FlowKind.LEFT_OUT.value: "left out: "}


def card_text(dataset: str, prepared: Mapping[str, Any]) -> str:
    """Write the card of a prepared set.

    Args:
        dataset: Key of `DATASETS`.
        prepared: Content of `prepared.json`, with or without `files`.

    Returns:
        Markdown with a YAML header; the same for the same input.

    Raises:
        ConfigError: There is no such data set.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"data set {dataset!r} is not known{nearest_name(dataset, [*DATASETS])}")
    card, flow = DATASETS[dataset], prepared["flow"]
    has_images = any(row[_ALL] for row in flow if row["name"] == _IMAGES_SHOWN)
    fingerprint, budget = prepared["redaction"], prepared["budget"]
    identifiers, time = _HIDDEN if fingerprint else _AS_THEY_ARE
    columns = [*Split, _UNASSIGNED, _ALL]
    if not any(row[_UNASSIGNED] for row in flow):
        columns.remove(_UNASSIGNED)
    return render_page(
        "editgrpo.data.prepared",
        "card.jinja",
        header=_header(card, _splits(flow), has_images=has_images),
        card=card,
        prepared=prepared,
        has_boxes=any(row[_ALL] for row in flow if row["name"] == WITH_BOXES),
        sharing=_SHARING[card.sharing],
        identifiers=identifiers.format(fingerprint=fingerprint),
        time=time,
        budget=f"{budget['min_pixels']:,} to {budget['max_pixels']:,} pixels, both sides multiples "
        f"of {budget['multiple_of']}",
        has_images=has_images,
        columns=columns,
        rows=[
            {
                "name": _NAME_OF_KIND.get(row["kind"], "") + row["name"],
                "counts": [f"{row[column]:,}" for column in columns],
            }
            for row in flow
        ],
    )


def _splits(flow: Sequence[Mapping[str, Any]]) -> list[Split]:
    """Return the splits that have studies, and so a table."""
    kept = [row for row in flow if row["kind"] == FlowKind.KEPT.value]
    return [split for split in Split if any(row[split] for row in kept)]


def _header(card: DatasetCard, splits: Sequence[Split], *, has_images: bool) -> str:
    """Return the YAML header that the hub and `datasets` read.

    A split of images cannot be called "all", which `datasets` keeps for the union of all splits;
    asking for "all" gives it all the same.
    """
    header: dict[str, Any] = {"pretty_name": card.title, "license": card.licence_id}
    if card.licence_id == "other":
        header["license_name"] = re.sub(r"[^a-z0-9.]+", "-", card.licence.lower())
        header["license_link"] = card.licence_link
    configs: list[dict[str, Any]] = [
        {
            "config_name": "studies",
            "default": True,
            "data_files": [
                {"split": split.value, "path": f"studies/{split.value}.arrow"} for split in splits
            ],
        }
    ]
    if has_images:
        configs.append(
            {
                "config_name": "images",
                "data_files": [{"split": "images", "path": "images/shard-*.arrow"}],
            }
        )
    header["configs"] = configs
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1_000)
