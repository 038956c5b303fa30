"""From findings to the causes behind them."""

from houndsight.debugger.diagnosis.likely import debugger_findings, likely_causes
from houndsight.debugger.diagnosis.rank import Diagnosis, diagnose

__all__ = ["Diagnosis", "debugger_findings", "diagnose", "likely_causes"]
