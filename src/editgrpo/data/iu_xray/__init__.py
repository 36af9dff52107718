"""IU X-Ray (OpenI), in every form in which it is passed around."""

from editgrpo.data.iu_xray.preparation import read_iu_xray
from editgrpo.data.iu_xray.source import IUXraySource, discover

__all__ = ["IUXraySource", "discover", "read_iu_xray"]
