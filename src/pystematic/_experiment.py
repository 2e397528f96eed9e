"""`Experiment`, `Group` and the decorators: the face that joins what was declared, the command line and the run."""

from __future__ import annotations

import os
import sys

from pystematic._words import kebab, short
from pystematic.declare import (
    OMITTED,
    Parameter,
    ParameterGroup,
    ParameterSet,
    Spec,
    caller_place,
)
from pystematic.errors import DeclarationError, Error, UsageError
from pystematic.plugins import app
from pystematic.resolve import Given, Resolution, plain_parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from multiprocessing.process import BaseProcess
    from typing import Any, Protocol, TypeVar, overload

    from pystematic.declare import Structure
    from pystematic.run import ActiveRun, Place
    from pystematic.store import Run, Runs

    Target = TypeVar("Target", bound="Experiment | Group | Callable[..., Any]")

    class Decorator(Protocol):
        def __call__(self, target: Target, /) -> Target: ...


# By the flags of their code (https://docs.python.org/3/library/inspect.html#inspect-module-co-flags).
_KINDS_THAT_RUN_NOTHING = {0x20: "a generator", 0x80: "a coroutine", 0x200: "an asynchronous generator"}
MEMO = "__params_memo__"  # what decorators leave on a plain function; the name is that of pystematic 1.x


class Experiment:
    """A main function with its parameters. Made by `pystematic.experiment`.

    Calling it is the same as `run`.

    Attributes:
        name: in kebab-case, as on the command line.
        main_function: the decorated function.
        metric: the tag that says how good a run is, with its direction: ``"val/accuracy:max"``; or None.
    """

    members: None = None

    def __init__(
        self,
        main_function: Callable[..., Any],
        name: str | None = None,
        defaults_override: Mapping[str, Any] | None = None,
        *,
        metric: str | None = None,
        where: str | None = None,
    ) -> None:
        self.where = where or caller_place()
        self.main_function = main_function
        self.name = _checked_name(_name_of(main_function) if name is None else name, self.where)
        self.metric = _checked_metric(metric, self.where)
        self.parent: Group | None = None
        self._parameters = ParameterSet(f"experiment '{self.name}'", defaults_override, self.where)
        self._spec: Spec | None = None
        self._structure: Structure | None = None
        self._keywords: tuple[str, ...] = ()
        for attribute in ("__doc__", "__module__", "__qualname__", "__name__"):
            if hasattr(main_function, attribute):
                setattr(self, attribute, getattr(main_function, attribute))
        self.__wrapped__ = main_function

    # -- declaration ---------------------------------------------------------------------------------------------

    def add_parameter(self, parameter: Parameter) -> None:
        """Add a parameter; usually done by `pystematic.parameter`.

        Raises:
            DeclarationError: its name or one of its options is taken.
        """
        self._parameters.add(parameter)
        self._spec = None

    def add_param_group(self, group: ParameterGroup) -> None:
        """Add a group of parameters; usually done by `pystematic.param_group`."""
        self._parameters.add_group(group)
        self._spec = None

    def get_parameters(self) -> list[Parameter]:
        """Return all parameters in the order of the help page, those that every experiment has included."""
        return list(self.spec.parameters)

    def get_param_groups(self) -> list[ParameterGroup]:
        """Return the declared groups of parameters."""
        return list(self._parameters.groups)

    @property
    def parameter_set(self) -> ParameterSet:
        """What others inherit: own and inherited parameters, without those that every experiment has."""
        return self._parameters

    @property
    def spec(self) -> Spec:
        """The whole specification; made when first asked for, since decorators above may still add to it."""
        if self._spec is None:
            self._spec = Spec(self._parameters)
        return self._spec

    @property
    def full_name(self) -> str:
        """The name with those of its groups, joined by dots: the name of the folder of its runs."""
        return f"{self.parent.full_name}.{self.name}" if self.parent is not None else self.name

    @property
    def documentation(self) -> str:
        """The docstring of the main function without its sections on arguments."""
        return _prose(self.main_function.__doc__)

    @property
    def description(self) -> str:
        """The first line of the docstring."""
        return _first_line(self.documentation)

    @property
    def documents(self) -> dict[str, str]:
        """Help texts from docstrings, by the names of parameters."""
        from pystematic.declare import section_docs  # reads docstrings: for help pages only

        found = section_docs(self.main_function.__doc__ or "")
        if self._structure is not None:
            found.update(self._structure.documents())
        return found

    @property
    def program_dir(self) -> str:
        """The folder of the file that defines the experiment."""
        path = self._code_file
        return os.path.dirname(os.path.abspath(path)) if path and os.path.exists(path) else os.getcwd()

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, params: Any = None, /, **more: Any) -> Run:
        """Run the experiment in this process and return the finished run.

        Args:
            params: a mapping of parameters, or an instance of the class that declares them.
            **more: further parameters; they win.

        Returns:
            The run, whose ``result`` is what the main function returned.

        Raises:
            UsageError: names or values that do not fit, all of them in one text.
            ExperimentError: another experiment is running in this process, or the output folder cannot be written.

        Whatever the main function raises is raised here.
        """
        __tracebackhide__ = True  # what IPython and pytest leave out of tracebacks
        if "__mp_main__" in sys.modules:
            from pystematic.cli import refuse_while_loading  # a program is, or has been, loaded without being run

            refuse_while_loading(f"experiment '{self.name}' is run")
        return self._execute(self.resolve({**self._values_in(params), **more}), tuple(sys.argv), ())

    def __call__(self, params: Any = None, /, **more: Any) -> Run:
        __tracebackhide__ = True
        return self.run(params, **more)

    def cli(self, argv: Sequence[str] | None = None, exit_on_error: bool = True) -> Run | None:
        """Run the experiment with parameters from a command line.

        Args:
            argv: the words after the program's name; those of this process when None.
            exit_on_error: print usage errors and exit with 2; without it, raise `pystematic.core.Error`.

        Returns:
            The finished run; None after ``--help`` or ``--dry-run``.
        """
        from pystematic.cli import run_program

        finished: Run | None = run_program(self, argv, exit_on_error)
        return finished

    def sweep(
        self,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        jobs: int | None = None,
        on: str | None = None,
        gpus: int = 0,
        name: str | None = None,
        seeds: int | None = None,
        search: str | None = None,
        search_seed: int | None = None,
        trials: int | None = None,
        metric: str | None = None,
        stop: str | None = None,
        timeout: float | str | None = None,
        retries: int = 0,
        reuse: bool = False,
        **lists: Any,
    ) -> Runs:
        """Run the experiment once for each combination of values, in processes of their own, and wait for all.

        The same call again goes on: what is finished is served from its record. Failed runs are not raised; they are
        among those that are returned.

        Args:
            params: like ``lists``, for parameters whose names are taken by one of the others here.
            jobs: how many run at once; without it one, or as many as is usual on a cluster.
            on: where: ``local``, ``slurm`` or ``slurm:PROFILE``, ``ray`` or ``ray:ADDRESS``.
            gpus: how many each gets for itself.
            name: of the sweep; without it, it is found by the experiment and its space.
            seeds: with how many seeds each combination is run, the same for all.
            search: ``random``, ``sobol`` or ``tpe``: a sampler chooses combinations.
            search_seed: of the sampler.
            trials: how many combinations it chooses.
            metric: what is good, as ``TAG:max`` or ``TAG:min``; that of the experiment when None.
            stop: ``median`` or ``asha``: end runs early that do worse than others.
            timeout: seconds, or a text such as ``2h``, after which a run is ended as failed.
            retries: how often a failed run is tried again.
            reuse: finished runs from outside the sweep count.
            **lists: for each parameter a list of values, one value, or a range as text: ``"1e-4..1e-1:log"``.

        Returns:
            The runs, in the order of the combinations and seeds.

        Raises:
            UsageError: names or values that do not fit.
            ExperimentError: another process runs this sweep, or no new process can find the experiment.

        Example:
            >>> found = train.sweep(learning_rate=[0.1, 0.01], random_seed=range(3), jobs=2)
            >>> found.best("val/accuracy:max").params
        """
        from pystematic._words import parse_duration
        from pystematic.cli import resolve_for
        from pystematic.store import Runs
        from pystematic.sweep import Listener, RunLimits, Session, SpaceReader, SweepOptions

        reader = SpaceReader(self.spec)
        given = dict(params or {})
        twice = [name for name in lists if name in given]
        if twice:
            raise UsageError([f"{name} is given by the mapping and by a keyword. Give it once." for name in twice])
        reader.add_values({**given, **lists})
        try:
            timeout_s = parse_duration(timeout) if isinstance(timeout, str) else timeout
        except ValueError as error:
            raise UsageError(f"--timeout: {error}.") from None
        options = SweepOptions(
            name=name,
            seeds=seeds,
            search=search,
            search_seed=search_seed,
            trials=trials,
            metric=metric,
            stop=stop,
            reuse=reuse,
            yes=True,
            on=on,
            limits=RunLimits(timeout_s=timeout_s, gpus=gpus, retries=retries),
        )
        session = Session(self, reader.finish(), options, lambda given: resolve_for(self, given))
        code = session.run(lambda: session.make_executor(jobs), Listener())
        if code == 130:
            raise KeyboardInterrupt
        if code > 128:
            from pystematic.errors import RunStopped

            raise RunStopped(code - 128)
        return Runs(session.result().runs())

    def run_in_new_process(self, params: Mapping[str, Any] | None = None, /, **more: Any) -> BaseProcess:
        """Start the experiment in a new process and return the process; ``join()`` waits for it.

        The process imports the module of the experiment, so the experiment stands at the top level of a file.
        """
        from pystematic.run import start_process

        return start_process(self, {**dict(params or {}), **more})

    def resolve(self, values: Mapping[str, Any], source: str | Mapping[str, str] = "code") -> Resolution:
        """Check values as `run` does, without running anything.

        Args:
            values: by name.
            source: who set them; or who set which, ``code`` where a name is missing.

        Raises:
            UsageError: names or values that do not fit.
        """
        from pystematic.cli import resolve_for

        __tracebackhide__ = True
        sources = dict.fromkeys(values, source) if isinstance(source, str) else source
        given = {name: Given(sources.get(name, "code"), plain=value) for name, value in values.items()}
        resolution = resolve_for(self, given)
        if resolution.problems:
            raise UsageError(resolution.problems)
        return resolution

    def execute(self, resolution: Resolution, command: Sequence[str], notes: Sequence[str] = ()) -> Run:
        """Run with resolved parameters; for the command line, which is recorded as ``command``."""
        __tracebackhide__ = True
        return self._execute(resolution, tuple(command), tuple(notes))

    def check_values(self, resolution: Resolution) -> list[str]:
        """Return what is wrong with resolved values together."""
        parameters = resolution.parameters
        problems: list[str] = []
        if parameters.get("cuda") is False:
            from pystematic.run import check_device  # a contradiction is possible here only

            try:
                check_device(parameters)
            except UsageError as error:
                problems += error.problems
        if parameters.get("on", "local") not in ("local", None):
            from pystematic.sweep import place_of

            try:
                place_of(parameters)
            except UsageError as error:
                problems += error.problems
        for name in ("limit_batches", "keep_last"):
            number = parameters.get(name)
            if isinstance(number, int) and number < 1:
                problems.append(f"{name} is {number} ({parameters.source_of(name)}): give at least 1")
        if parameters.get("recorders"):
            from pystematic.record import check_backends  # looks for packages, which takes a while

            try:
                check_backends(parameters["recorders"], parameters.source_of("recorders"))
            except UsageError as error:
                problems += error.problems
        if self._structure is not None and not problems:
            try:
                self._structure.build(parameters)
            except ValueError as error:
                problems += str(error).splitlines()
        return problems

    def _execute(self, resolution: Resolution, argv: tuple[str, ...], notes: tuple[str, ...]) -> Run:
        from pystematic.run import Program, RunHooks, RunRequest, execute

        __tracebackhide__ = True
        parameters = resolution.parameters
        if parameters.get("dry_run"):
            raise UsageError("dry_run is for the command line; in code, Experiment.resolve() checks values.")
        if parameters.get("on", "local") not in ("local", None):
            from pystematic.run import origin

            if not origin().is_placed:
                from pystematic.sweep import run_elsewhere

                return run_elsewhere(self, resolution)
        main = sys.modules.get("__main__")
        main_spec = getattr(main, "__spec__", None)
        request = RunRequest(
            experiment=self.full_name,
            parameters=parameters,
            plain=plain_parameters(resolution.spec, parameters),
            secret_options=tuple(
                option for parameter in resolution.spec.parameters if parameter.secret for option in parameter.options
            ),
            argv=argv,
            program=Program(
                file=getattr(main, "__file__", None),
                module=main_spec.name if main_spec is not None else None,
                code_file=self._code_file,
            ),
            metric=self.metric,
            parent=None,
            notes=notes,
            place=_place_of(parameters),
            **_restored(parameters),
            replayed=tuple(parameter.name for parameter in resolution.spec.parameters if parameter.replayed),
        )
        hooks = RunHooks(
            before=lambda values: app.before_experiment(self, values),
            after=app.after_experiment,
        )
        from pystematic import torch as distributed  # loads no torch

        handover = distributed.take_handover()
        if handover is not None:
            handover.perform(request, self._call, self)  # ends the process
        plan = distributed.make_plan(parameters)
        if plan.kind == "single":
            return execute(request, self._call, hooks, experiment=self)
        started: Run = distributed.start_run(request, plan, self._call, hooks, self)
        return started

    def _call(self, active: ActiveRun) -> Any:
        __tracebackhide__ = True
        code = getattr(self.main_function, "__code__", None)
        count = 2 if code is None or code.co_flags & 0x04 else code.co_argcount  # *args take both
        first: Any = active.parameters if self._structure is None else self._structure.build(active.parameters)
        arguments: list[Any] = [first][:count]
        if count > 1:
            arguments.append(_make_context(active))
        keywords = {name: active.parameters[name] for name in self._keywords}
        return self.main_function(*arguments, **keywords)

    def _values_in(self, params: Any) -> dict[str, Any]:
        if params is None:
            return {}
        if self._structure is not None and isinstance(params, self._structure.cls):
            return self._structure.flatten(params)
        if not hasattr(params, "keys"):
            raise UsageError(f"run() takes a mapping of parameters, got {short(params)}.")
        return {str(name): value for name, value in dict(params).items()}

    def read_signature(self) -> None:
        """Add what the main function itself declares: fields of a class, or keyword-only arguments.

        Raises:
            DeclarationError: the function takes something that is no parameter, or an annotation is no type.
        """
        function = self.main_function
        code = getattr(function, "__code__", None)
        if code is None:
            return
        annotations = getattr(function, "__annotations__", {})
        kind = _KINDS_THAT_RUN_NOTHING.get(code.co_flags & 0x2A0)
        if kind is not None:
            raise DeclarationError(
                f"{self.where}: the main function of experiment '{self.name}' is {kind}, which does nothing when it "
                "is called. Make it a plain function."
            )
        positional = code.co_varnames[: code.co_argcount]
        if len(positional) > 2:
            raise DeclarationError(
                f"{self.where}: the main function of experiment '{self.name}' takes {', '.join(positional)}; "
                "it can take (parameters, context), (parameters) or nothing. Write further parameters behind a '*'."
            )
        if positional and positional[0] in annotations:
            cls = _evaluate(annotations[positional[0]], function)
            if isinstance(cls, type) and cls is not dict and not issubclass(cls, dict):
                self._read_class(cls)
        self._keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        for name in self._keywords:
            self._read_keyword(name, annotations.get(name, OMITTED))

    def _read_class(self, cls: type) -> None:
        from pystematic.declare import Structure, is_structure

        if is_structure(cls):
            self._structure = Structure(cls, self.where)
            for parameter in self._structure.parameters:
                self._parameters.add(parameter)

    def _read_keyword(self, name: str, annotation: Any) -> None:
        default = (self.main_function.__kwdefaults__ or {}).get(name, OMITTED)
        declared = annotation if annotation is OMITTED else _evaluate(annotation, self.main_function)
        if isinstance(declared, str):
            raise DeclarationError(f"{self.where}: the annotation {declared!r} of '{name}' cannot be read.")
        made = (lambda: default) if callable(default) and default is not OMITTED else default
        self._parameters.add(
            Parameter(
                name,
                declared,
                None if made is OMITTED else made,
                required=default is OMITTED,
                default_help=short(default) if made is not default else None,
                where=self.where,
            )
        )

    @property
    def _code_file(self) -> str | None:
        code = getattr(self.main_function, "__code__", None)
        return None if code is None else str(code.co_filename)

    def __repr__(self) -> str:
        return f"<Experiment {self.full_name!r}>"

    def __reduce__(self) -> str:
        return str(getattr(self, "__qualname__", self.name))  # by reference, as functions are pickled


class Group:
    """Experiments and groups under one name, which inherit the group's parameters. Made by `pystematic.group`.

    Attributes:
        name: in kebab-case, as on the command line.
        members: the experiments and groups, by name, in the order of their definition.
    """

    def __init__(
        self, main_function: Callable[..., Any] | None, name: str | None = None, *, where: str | None = None
    ) -> None:
        self.where = where or caller_place()
        self.main_function = main_function
        self.name = ""
        if main_function is not None:
            self.name = _checked_name(_name_of(main_function) if name is None else name, self.where)
        self.parent: Group | None = None
        self.members: dict[str, Experiment | Group] = {}
        self._parameters = ParameterSet(f"group '{self.name}'")
        self._heirs: list[Experiment | Group] = []
        self._spec: Spec | None = None
        self.__doc__ = getattr(main_function, "__doc__", None)

    if TYPE_CHECKING:

        @overload
        def experiment(self, name: Callable[..., Any]) -> Experiment: ...
        @overload
        def experiment(
            self,
            name: str | None = None,
            inherit_params: Any = None,
            defaults: Mapping[str, Any] | None = None,
            inherit_params_from_group: bool = True,
            metric: str | None = None,
        ) -> Callable[[Callable[..., Any]], Experiment]: ...

    def experiment(
        self,
        name: Any = None,
        inherit_params: Any = None,
        defaults: Mapping[str, Any] | None = None,
        inherit_params_from_group: bool = True,
        metric: str | None = None,
    ) -> Any:
        """Make the decorated function an experiment of this group; see `pystematic.experiment`.

        Args:
            name: the function's name in kebab-case when None.
            inherit_params: experiments, groups or decorated functions whose parameters it has too.
            defaults: other defaults for some parameters.
            inherit_params_from_group: whether it has the parameters of this group.
            metric: the tag that says how good a run is, with its direction.
        """
        where = caller_place()

        def decorate(function: Callable[..., Any]) -> Experiment:
            own = None if callable(name) else name
            inherited = [self, *_listed(inherit_params)] if inherit_params_from_group else _listed(inherit_params)
            return _make_experiment(function, own, inherited, defaults, metric, self, where)

        return decorate(name) if callable(name) else decorate

    if TYPE_CHECKING:

        @overload
        def group(self, name: Callable[..., Any]) -> Group: ...
        @overload
        def group(
            self, name: str | None = None, inherit_params: Any = None, inherit_params_from_group: bool = True
        ) -> Callable[[Callable[..., Any]], Group]: ...

    def group(self, name: Any = None, inherit_params: Any = None, inherit_params_from_group: bool = True) -> Any:
        """Make the decorated function a group inside this one; the function is never called."""
        where = caller_place()

        def decorate(function: Callable[..., Any]) -> Group:
            own = None if callable(name) else name
            inherited = [self, *_listed(inherit_params)] if inherit_params_from_group else _listed(inherit_params)
            return _make_group(function, own, inherited, self, where)

        return decorate(name) if callable(name) else decorate

    def add_parameter(self, parameter: Parameter) -> None:
        """Add a parameter, which everything that inherits from this group then has too."""
        self._parameters.add(parameter)
        _pass_on(self)

    def add_param_group(self, group: ParameterGroup) -> None:
        """Add a group of parameters, which everything that inherits from this group then has too."""
        self._parameters.add_group(group)
        _pass_on(self)

    def get_parameters(self) -> list[Parameter]:
        """Return the parameters of the group."""
        return self._parameters.all()

    def get_param_groups(self) -> list[ParameterGroup]:
        """Return the groups of parameters."""
        return list(self._parameters.groups)

    @property
    def parameter_set(self) -> ParameterSet:
        """What the members inherit."""
        return self._parameters

    @property
    def spec(self) -> Spec:
        if self._spec is None:
            self._spec = Spec(self._parameters, framework=False)
        return self._spec

    @property
    def experiments(self) -> list[Experiment | Group]:
        """The members in the order of their definition."""
        return list(self.members.values())

    @property
    def full_name(self) -> str:
        """The name with those of the groups around it, joined by dots."""
        return f"{self.parent.full_name}.{self.name}" if self.parent is not None else self.name

    @property
    def documentation(self) -> str:
        return _prose(self.__doc__) if self.main_function is not None else ""

    @property
    def description(self) -> str:
        return _first_line(self.documentation)

    @property
    def documents(self) -> dict[str, str]:
        return {}

    @property
    def program_dir(self) -> str:
        path = getattr(sys.modules.get("__main__"), "__file__", None)
        return os.path.dirname(os.path.abspath(path)) if path else os.getcwd()

    def add_experiment(self, experiment: Experiment | Group) -> None:
        """Add a member.

        Raises:
            DeclarationError: a member of this name exists; both places are named.
        """
        taken = self.members.get(experiment.name)
        if taken is not None and not _is_redefinition(taken, experiment):
            kind = "an experiment" if taken.members is None else "a group"
            place = f"the group '{self.name}'" if self.name else "this program"
            raise DeclarationError(
                f"{experiment.where}: {place} has {kind} '{experiment.name}' already, defined at {taken.where}. "
                "Give one of them another name: name='...'."
            )
        self.members.pop(experiment.name, None)
        self.members[experiment.name] = experiment
        if self.main_function is not None:
            experiment.parent = self

    def cli(self, argv: Sequence[str] | None = None, exit_on_error: bool = True) -> Run | None:
        """Run the experiment of this group that a command line names; see `Experiment.cli`."""
        from pystematic.cli import run_program

        finished: Run | None = run_program(self, argv, exit_on_error)
        return finished

    def check_values(self, resolution: Resolution) -> list[str]:
        return []

    def execute(self, resolution: Resolution, command: Sequence[str], notes: Sequence[str] = ()) -> Run:
        raise Error(f"'{self.name}' is a group; name one of its experiments: {', '.join(self.members)}.")

    def __repr__(self) -> str:
        return f"<Group {self.full_name!r}: {', '.join(self.members)}>"


# Experiments and groups that stand in no group, in the order of their definition: what `global_entrypoint` offers.
program = Group(None, where="pystematic")


def global_entrypoint(argv: Sequence[str] | None = None) -> Run | None:
    """Be the command line of all experiments that are defined so far; call it at the end of the main file.

    Args:
        argv: the words after the program's name; those of this process when None.

    Example:
        >>> if __name__ == "__main__":
        ...     pystematic.global_entrypoint()
    """
    return program.cli(argv)


if TYPE_CHECKING:

    @overload
    def experiment(name: Callable[..., Any]) -> Experiment: ...
    @overload
    def experiment(
        name: str | None = None,
        inherit_params: Any = None,
        defaults: Mapping[str, Any] | None = None,
        metric: str | None = None,
    ) -> Callable[[Callable[..., Any]], Experiment]: ...


def experiment(
    name: Any = None,
    inherit_params: Any = None,
    defaults: Mapping[str, Any] | None = None,
    metric: str | None = None,
) -> Any:
    """Make the decorated function an experiment.

    The function takes ``(parameters, context)``, ``(parameters)`` or nothing. Keyword-only arguments with annotations
    are parameters too; so are the fields of a dataclass, attrs class or pydantic model that annotates the first one.

    Args:
        name: the function's name in kebab-case when None.
        inherit_params: an experiment, a group, a decorated function, or a list of them, whose parameters it has too.
        defaults: other defaults for some parameters.
        metric: the tag that says how good a run is, with its direction: ``"val/accuracy:max"``.

    Raises:
        DeclarationError: a name is taken, a default does not fit, or the function takes something else.

    Example:
        >>> @pystematic.parameter(name="learning_rate", type=float, default=1e-3)
        ... @pystematic.experiment
        ... def train(parameters, context):
        ...     context.recorder.scalar("loss", 0.5)
    """
    where = caller_place()

    def decorate(function: Callable[..., Any]) -> Experiment:
        own = None if callable(name) else name
        return _make_experiment(function, own, _listed(inherit_params), defaults, metric, program, where)

    return decorate(name) if callable(name) else decorate


if TYPE_CHECKING:

    @overload
    def group(name: Callable[..., Any]) -> Group: ...
    @overload
    def group(name: str | None = None, inherit_params: Any = None) -> Callable[[Callable[..., Any]], Group]: ...


def group(name: Any = None, inherit_params: Any = None) -> Any:
    """Make the decorated function a group of experiments; the function is never called, its docstring is the help.

    Parameters of a group are inherited by everything in it.

    Example:
        >>> @pystematic.parameter(name="data_dir", type=pathlib.Path, default="data")
        ... @pystematic.group
        ... def digits(): "Experiments on handwritten digits."
        >>> @digits.experiment
        ... def train(parameters): ...
    """
    where = caller_place()

    def decorate(function: Callable[..., Any]) -> Group:
        own = None if callable(name) else name
        return _make_group(function, own, _listed(inherit_params), program, where)

    return decorate(name) if callable(name) else decorate


def parameter(
    name: str,
    type: Any = OMITTED,
    default: Any = None,
    required: bool = False,
    allowed_values: Iterable[Any] | None = None,
    is_flag: bool = False,
    multiple: bool = False,
    allow_from_file: bool = True,
    envvar: str | None = None,
    help: str | None = None,
    default_help: str | None = None,
    hidden: bool = False,
    flags: Sequence[str] | None = None,
    secret: bool = False,
    identity: bool = True,
) -> Decorator:
    """Declare a parameter of an experiment or group.

    Args:
        name: a Python identifier, ``learning_rate``; on the command line ``--learning-rate``.
        type: an annotation (``float``, ``list[int]``, ``Literal["sgd", "adam"]``, ``Annotated[float, Gt(0)]`` ...) or
            any callable from text. Without it, the type of the default, else text.
        default: the value when no source gives one, or a callable without arguments that makes it.
        required: a value must come from somewhere.
        allowed_values: the only values, in place of ``type``.
        is_flag: ``--name`` and ``--no-name`` instead of ``--name VALUE``.
        multiple: a list of values of ``type``.
        allow_from_file: whether a params file may set it.
        envvar: the environment variable that sets it; none is read unless named here.
        help: a text for the help page.
        default_help: what the help page shows in place of the default.
        hidden: not on the help page.
        flags: short forms, such as ``["-l"]``.
        secret: masked in everything that is recorded or printed.
        identity: part of what a run is.

    Raises:
        DeclarationError: the declaration contradicts itself, or the default does not fit the type.

    Example:
        >>> @pystematic.parameter(name="optimizer", type=Literal["sgd", "adam"], default="adam", help="The optimizer.")
        ... @pystematic.experiment
        ... def train(parameters, context): ...
    """
    declared = Parameter(
        name,
        type,
        default,
        required,
        allowed_values,
        is_flag,
        multiple,
        allow_from_file,
        envvar,
        help,
        default_help,
        hidden,
        flags,
        secret,
        identity,
    )

    def decorate(target: Target, /) -> Target:
        if isinstance(target, Experiment | Group):
            target.add_parameter(declared)
        else:
            _memo(target).append(declared)
        return target

    return decorate


def param_group(name: str, *parameters: str | Decorator | None) -> Decorator:
    """Group parameters under a heading of the help page; nothing else changes.

    Args:
        name: the heading.
        *parameters: a help text first, if any; then ``pystematic.parameter(...)`` without the ``@``.

    Example:
        >>> @pystematic.param_group(
        ...     "Optimizer",
        ...     pystematic.parameter("learning_rate", type=float, default=1e-3),
        ...     pystematic.parameter("momentum", type=float, default=0.9),
        ... )
        ... @pystematic.experiment
        ... def train(parameters, context): ...
    """
    where = caller_place()
    help_text = None
    declarations = parameters
    if parameters and (parameters[0] is None or isinstance(parameters[0], str)):
        help_text, declarations = parameters[0], parameters[1:]

    def collector() -> None: ...

    for declare in declarations:
        if not callable(declare):
            raise DeclarationError(
                f"{where}: param_group '{name}' takes pystematic.parameter(...), got {short(declare)}."
            )
        declare(collector)
    declared = ParameterGroup(name, help_text, _in_order_of_writing(_memo(collector)), where)

    def decorate(target: Target, /) -> Target:
        if isinstance(target, Experiment | Group):
            target.add_param_group(declared)
        else:
            _memo(target).append(declared)
        return target

    return decorate


def _in_order_of_writing(declared: Iterable[Any]) -> list[Parameter]:
    """Return parameters in the order in which they were written."""
    return sorted(declared, key=lambda item: item.order)


def _memo(function: Any) -> list[Any]:
    if MEMO not in getattr(function, "__dict__", {}):
        try:
            setattr(function, MEMO, [])
        except AttributeError:
            raise DeclarationError(
                f"{caller_place()}: a parameter is declared on a function, an experiment or a group, "
                f"not on {short(function)}."
            ) from None
    memo: list[Any] = getattr(function, MEMO)
    return memo


def _make_experiment(
    function: Callable[..., Any],
    name: str | None,
    inherited: Sequence[Any],
    defaults: Mapping[str, Any] | None,
    metric: str | None,
    owner: Group,
    where: str,
) -> Experiment:
    if not callable(function):
        raise DeclarationError(f"{where}: an experiment is made from a function, not from {short(function)}.")
    made = Experiment(function, name, defaults, metric=metric, where=where)
    created = app.experiment_created(made)
    made = created if isinstance(created, Experiment) else made
    for source in inherited:
        _inherit(made, source)
    _take_memo(made, function)
    made.read_signature()
    owner.add_experiment(made)
    return made


def _make_group(
    function: Callable[..., Any], name: str | None, inherited: Sequence[Any], owner: Group, where: str
) -> Group:
    if not callable(function):
        raise DeclarationError(f"{where}: a group is made from a function, not from {short(function)}.")
    made = Group(function, name, where=where)
    for source in inherited:
        _inherit(made, source)
    _take_memo(made, function)
    owner.add_experiment(made)
    return made


def _is_redefinition(old: Experiment | Group, new: Experiment | Group) -> bool:
    """Tell whether ``new`` is ``old`` defined again: its module was reloaded, or a cell or test was run again."""
    if old.where == new.where:
        return True
    file = new.where.rpartition(":")[0]
    if not os.path.exists(file):  # a cell of a notebook, or an interactive line
        return True
    # What a function defines is gone when it returns; the next function of that name may define it too.
    is_passing = "<locals>" in _scope(old) and file != old.where.rpartition(":")[0]
    return is_passing or _scope(old) != _scope(new)


def _scope(made: Experiment | Group) -> str:
    return str(getattr(made.main_function, "__qualname__", "")).rpartition(".")[0]


def _take_memo(target: Experiment | Group, function: Any) -> None:
    for declared in getattr(function, MEMO, ()):
        if isinstance(declared, ParameterGroup):
            target.add_param_group(declared)
        elif isinstance(declared, Parameter):
            target.add_parameter(declared)


def _inherit(target: Experiment | Group, source: Any) -> None:
    if isinstance(source, Experiment | Group):
        target.parameter_set.inherit(source.parameter_set)
        if isinstance(source, Group):
            source._heirs.append(target)
    elif hasattr(source, MEMO):
        memo = ParameterSet(getattr(source, "__name__", "function"))
        for declared in getattr(source, MEMO):
            (memo.add_group if isinstance(declared, ParameterGroup) else memo.add)(declared)
        target.parameter_set.inherit(memo)
    else:
        raise DeclarationError(
            f"{target.where}: inherit_params takes experiments, groups and functions with parameters, "
            f"got {short(source)}."
        )
    target._spec = None


def _pass_on(source: Experiment | Group) -> None:
    """Give those that inherit from a group what was added to it after they were defined."""
    source._spec = None
    if isinstance(source, Group):
        for heir in source._heirs:
            heir.parameter_set.inherit(source.parameter_set)
            _pass_on(heir)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _name_of(function: Callable[..., Any]) -> str:
    return kebab(str(getattr(function, "__name__", "experiment")).lower())


def _checked_name(name: str, where: str) -> str:
    """Refuse names that a command line or a folder cannot carry."""
    bad = (
        not isinstance(name, str)
        or not name
        or name != name.strip()
        or name[0] in "-.="
        or any(letter in '/\\:*?"<>|' or not letter.isprintable() or letter.isspace() for letter in name)
        or len(os.fsencode(name.encode("utf-8", "replace"))) > 120
    )
    if bad:
        raise DeclarationError(
            f"{where}: {short(name)} is no name for an experiment or group: it becomes a word of the command line and "
            "a folder. Use letters, digits, '-' and '_'."
        )
    return name


def _checked_metric(metric: str | None, where: str) -> str | None:
    if metric is not None:
        tag, _, direction = str(metric).rpartition(":")
        if not tag or direction not in ("max", "min"):
            raise DeclarationError(
                f"{where}: metric={short(metric)} is no tag with a direction, such as 'val/loss:min'."
            )
    return metric


def _evaluate(annotation: Any, function: Any) -> Any:
    """Return the object that an annotation stands for, or its text where that is not to be had."""
    if not isinstance(annotation, str):
        return annotation
    names = dict(getattr(function, "__globals__", {}))
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals is not getattr(function, "__globals__", None):
        frame = frame.f_back
    if frame is not None:
        names.update(frame.f_locals)  # classes defined inside a function
    try:
        return eval(annotation, names)  # the program's own source, as Python itself would evaluate it
    except Exception:  # a name that only the type checker knows
        return annotation


_SECTIONS = ("Args:", "Arguments:", "Parameters:", "Keyword Args:", "Returns:", "Raises:", "Attributes:")


def _prose(docstring: str | None) -> str:
    lines = []
    for line in (docstring or "").strip().splitlines():
        if line.strip() in _SECTIONS:
            break
        lines.append(line.rstrip())
    return "\n".join(lines).strip()


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip()


def _make_context(active: ActiveRun) -> Any:
    from pystematic.torch import Context  # imports torch only when something of torch is given to it

    return Context(active)


def _restored(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run that is gone on with and the checkpoint that is gone on from, as a `RunRequest` wants them."""
    resumed, file = parameters.get("resume"), parameters.get("checkpoint")
    if not resumed and not file:
        return {}
    from pystematic import torch as training  # loads no torch

    if resumed:
        first = None if not file else str(file)
        return {"resumed": str(resumed), "find_state": lambda: training.newest_state(str(resumed), first)}
    return {"restored": training.load_state(str(file))}


def _place_of(parameters: Mapping[str, Any]) -> Place:
    """Return the place of a process that `launch_subprocess` has started, or of one that is alone."""
    from pystematic.run import Place

    run_file = parameters.get("subprocess")
    if not run_file:
        return Place()
    rank = int(parameters.get("local_rank") or 0)
    return Place(rank, rank, run_dir=os.path.dirname(str(run_file)))
