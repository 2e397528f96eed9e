"""The names of `pystematic.core` in pystematic 1.x, for programs and plugins written for it."""

from pystematic._experiment import Experiment, experiment, group, param_group, parameter
from pystematic._experiment import Group as ExperimentGroup
from pystematic.declare import Parameter, ParameterGroup
from pystematic.errors import Error, ExperimentError
from pystematic.plugins import PystematicApp, app

parameter_decorator = parameter
experiment_decorator = experiment
group_decorator = group
parameter_group_decorator = param_group

__all__ = [
    "Error",
    "Experiment",
    "ExperimentError",
    "ExperimentGroup",
    "Parameter",
    "ParameterGroup",
    "PystematicApp",
    "app",
    "experiment_decorator",
    "group_decorator",
    "parameter_decorator",
    "parameter_group_decorator",
]
