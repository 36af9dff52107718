"""Whether a prepared set is whole, and without leaks between splits and times."""

from editgrpo.data.verify.problems import Problem, ProblemKind
from editgrpo.data.verify.verification import Verification, verify

__all__ = ["Problem", "ProblemKind", "Verification", "verify"]
