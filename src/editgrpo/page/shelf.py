"""The studies that the page offers: phantoms that it draws itself, and those of a prepared set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import choose_images
from editgrpo.data.study import Split, Study
from editgrpo.demo.sites import DEMO_PROFILES
from editgrpo.errors import DataError
from editgrpo.files import real_path
from editgrpo.page.films import Film
from editgrpo.phantom import Site, write_phantom

PHANTOMS = 12
"""Studies that are drawn: a few, since the page waits for them."""
LISTED = 200
"""Studies of a set that the list shows; any other is found by its id."""
# A square film of a detector, of which the budget makes what the model reads.
_SOURCE_PX = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Shelf:
    """Studies to pick from.

    Attributes:
        name: As the page names it.
        studies: All of them.
        split: Which of them are listed.
    """

    name: str
    studies: StudySet
    split: Split

    def listed(self) -> list[str]:
        """Return the ids of the first studies of the split."""
        shown = StudySet.load(self.studies.folder, split=self.split)[:LISTED]
        return [study.study_id for study in shown]

    def take(self, study_id: str, *, max_images: int) -> tuple[Study, tuple[Film, ...]]:
        """Return a study with the films that a model is shown.

        Args:
            study_id: Any of the set.
            max_images: Most films.

        Returns:
            The study, and its films in the order in which they are shown.

        Raises:
            DataError: There is no such study, or a film of it cannot be read.
        """
        study = self.studies.find(study_id)
        if study is None:
            raise DataError(f"{self.name}: has no study {study_id!r}; pick one of the list")
        films = tuple(
            Film(
                name=image.image_id,
                image=self.studies.images.load(image.image_id),
                view=image.view,
                timepoint=image.timepoint,
                is_sized=True,
            )
            for image in choose_images(study, max_images=max_images)
        )
        return study, films


def phantom_shelf(folder: Path, budget: PixelBudget) -> Shelf:
    """Draw phantom studies of the demo's site A.

    Args:
        folder: Where they go; it must be free.
        budget: How large the model reads films.

    Returns:
        The shelf.
    """
    side, _ = budget.size(_SOURCE_PX, _SOURCE_PX)
    write_phantom(
        folder,
        studies=PHANTOMS,
        site=DEMO_PROFILES[Site.A],
        seed=0,
        size_px=side,
        split_shares=(0.0, 0.0, 1.0),
        workers=1,
    )
    return Shelf(name="Phantom", studies=StudySet.load(folder), split=Split.TEST)


def prepared_shelf(folder: Path) -> Shelf:
    """Open a prepared set.

    Args:
        folder: Of the set.

    Returns:
        The shelf, which lists its test studies; where there are none, those of validation or of
        training.

    Raises:
        DataError: It is no prepared set, or holds no study.
    """
    for split in (Split.TEST, Split.VALIDATION, Split.TRAIN):
        if len(StudySet.load(folder, split=split)):
            name = real_path(folder).name
            return Shelf(name=name, studies=StudySet.load(folder), split=split)
    raise DataError(f"{folder}: holds no study; prepare another set")


def told_apart(shelves: Sequence[Shelf]) -> tuple[Shelf, ...]:
    """Return shelves of which no two have one name: those that had are named by their folders."""
    names = [shelf.name for shelf in shelves]
    return tuple(
        replace(shelf, name=f"{shelf.name} ({shelf.studies.folder})")
        if names.count(shelf.name) > 1
        else shelf
        for shelf in shelves
    )


def shelf_named(shelves: Sequence[Shelf], name: str) -> Shelf:
    """Return the shelf of a name."""
    return next(shelf for shelf in shelves if shelf.name == name)
