"""The charts of a report, one a file; each returns a Vega-Lite specification without colours."""

from houndsight.reporting.charts.bars import bars
from houndsight.reporting.charts.confusion import confusion_map
from houndsight.reporting.charts.importance import importance_chart, parameter_importance
from houndsight.reporting.charts.learning_curves import learning_curve
from houndsight.reporting.charts.parallel import parallel_coordinates
from houndsight.reporting.charts.reliability import reliability_diagram
from houndsight.reporting.charts.theme import VEGALITE_VERSION, chart_config
from houndsight.reporting.charts.trials import trial_values

__all__ = [
    "VEGALITE_VERSION",
    "bars",
    "chart_config",
    "confusion_map",
    "importance_chart",
    "learning_curve",
    "parallel_coordinates",
    "parameter_importance",
    "reliability_diagram",
    "trial_values",
]
