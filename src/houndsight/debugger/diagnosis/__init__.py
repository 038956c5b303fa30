"""From findings to the causes behind them."""

from houndsight.debugger.diagnosis.rank import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
