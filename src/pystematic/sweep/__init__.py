"""Many runs of one experiment, from code. Knows nothing of command lines."""

from pystematic.sweep._executor import Event, Executor, Task
from pystematic.sweep._parameter_sweep import param_matrix, run_each, run_parameter_sweep

__all__ = ["Event", "Executor", "Task", "param_matrix", "run_each", "run_parameter_sweep"]
