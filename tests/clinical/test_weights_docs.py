"""docs/models.md names the sources and commits that the catalogue pins."""

from editgrpo.clinical.catalogue import CATALOGUE, ENCODER_REVISIONS, USES
from tests.builders import REPOSITORY

PAGE = (REPOSITORY / "docs" / "models.md").read_text(encoding="utf-8")


def test_every_pin_stands_on_the_page() -> None:
    for model, entry in CATALOGUE.items():
        assert f"| `{model}` | " in PAGE
        for part in entry.parts:
            assert f"| {part.repository} | `{part.revision}` " in PAGE


def test_every_encoder_and_use_stands_on_the_page() -> None:
    for revision in ENCODER_REVISIONS.values():
        assert f"`{revision}`" in PAGE
    for use in USES:
        assert f"`{use}`" in PAGE or f"--for {use}" in PAGE
