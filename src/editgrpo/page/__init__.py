"""A page, on this machine alone, on which a model is tried: `editgrpo try`."""

from editgrpo.page.models import TriedModel, tried_model
from editgrpo.page.serve import OpenPage, open_page

__all__ = ["OpenPage", "TriedModel", "open_page", "tried_model"]
