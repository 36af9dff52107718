"""The reward and the edit inside other people's trainers: TRL, verl, ms-swift (docs/adapters.md).

Each module converts what one trainer passes to `load_reward` and to the edit, and nothing else.
None of them imports its trainer.
"""

from editgrpo.adapters.edits import GroupEditor
from editgrpo.adapters.reward import load_shared_reward

__all__ = ["GroupEditor", "load_shared_reward"]
