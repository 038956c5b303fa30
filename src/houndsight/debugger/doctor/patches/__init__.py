"""The repair as a change of a few lines in the script, comments and style kept (libcst).

A change is written only where its place can be told for certain; otherwise the reason is given.
"""

from houndsight.debugger.doctor.patches.propose import Proposal, propose

__all__ = ["Proposal", "propose"]
