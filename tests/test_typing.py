"""A user's scripts pass `mypy --strict` without an ignore, and their mistakes are seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import run_python, write_program

KEYWORDS = '''
    """Train a model: parameters as decorators and keyword-only arguments."""

    from __future__ import annotations

    import random
    from pathlib import Path
    from typing import Literal

    import pystematic
    from pystematic import Context, Parameters, Run


    @pystematic.param_group(
        "Data",
        "Where the data is.",
        pystematic.parameter("data_dir", type=Path, default=Path("data")),
    )
    @pystematic.parameter("learning_rate", type=float, default=1e-3, help="Step size.", flags=["-l"])
    @pystematic.experiment(metric="loss:min")
    def train(
        parameters: Parameters, context: Context, *, epochs: int = 3, optimizer: Literal["sgd", "adam"] = "adam"
    ) -> float:
        """Train a model."""
        random.seed(context.new_seed("data"))
        loss = 1.0
        for epoch in context.epochs(epochs):
            loss *= parameters["learning_rate"]
            context.recorder.scalar("loss", loss, step=epoch)
        print(context.output_dir / "model.pt", context.run_id, parameters.source_of("learning_rate"), optimizer)
        return loss


    @pystematic.group
    def tools() -> None:
        """Tools."""


    @pystematic.parameter("depth", type=int, default=1)
    @tools.experiment(defaults={"depth": 2})
    def clean(parameters: Parameters) -> None:
        """Clean up."""


    def main() -> None:
        run: Run = train.run(learning_rate=0.1, epochs=2)
        same: Run = train({"learning_rate": 0.1}, epochs=2)
        print(run.id, run.status, run.path.name, run.result, run.params["learning_rate"], same.metrics("loss").value)
        print([parameter.name for parameter in train.get_parameters()], train.name, clean.name)
        best = pystematic.runs("output").best("loss:min")
        if best is not None:
            print(best.summary["loss"]["min"])
        process = train.run_in_new_process({"epochs": 1})
        process.join()
        train.cli(["--epochs", "1"], exit_on_error=False)
        pystematic.run_parameter_sweep(train, pystematic.param_matrix(epochs=[1, 2]), max_num_processes=2)


    if __name__ == "__main__":
        pystematic.global_entrypoint()
'''

CLASSES = '''
    """Train a model: parameters as a dataclass."""

    from dataclasses import dataclass, field

    import pystematic


    @dataclass
    class Adam:
        lr: float = 1e-3
        betas: tuple[float, float] = (0.9, 0.999)


    @dataclass
    class Sgd:
        lr: float = 0.1


    @dataclass
    class Config:
        epochs: int = 3
        optimizer: Adam | Sgd = field(default_factory=Adam)


    @pystematic.experiment
    def train(config: Config, context: pystematic.Context) -> float:
        """Train a model."""
        loss = 1.0
        for _ in range(config.epochs):
            loss *= config.optimizer.lr
            context.recorder.scalar("loss", loss)
            context.recorder.step()
        return loss


    @pystematic.experiment(name="evaluate", inherit_params=train)
    def evaluate() -> None:
        """Evaluate a model."""


    if __name__ == "__main__":
        print(train.run(Config(epochs=2)).result)
        pystematic.global_entrypoint()
'''

MISTAKES = """
    import pystematic

    @pystematic.parameter("lr", typ=float)
    @pystematic.experiment
    def train(parameters: pystematic.Parameters) -> None: ...

    @pystematic.parameter("lr")
    @pystematic.group
    def tools() -> None: ...

    train.rnu()
    train.run().idd
    train(3).statuss
    tools.run()
    tools.experimnt
    pystematic.experimnt
    code: int = train.cli()
"""

# mypy reads all of torch on its way.
LIMIT_S = 300.0


@pytest.mark.timeout(LIMIT_S)
def test_scripts_are_strictly_typed_and_mistakes_are_seen(working_dir: Path) -> None:
    for name, text in (("keywords.py", KEYWORDS), ("classes.py", CLASSES), ("mistakes.py", MISTAKES)):
        write_program(working_dir, text, name)
    options = ["--strict", "--no-error-summary", "--hide-error-context", "--cache-dir", "cache"]
    done = run_python("-m", "mypy", *options, "keywords.py", "classes.py", "mistakes.py", timeout_s=LIMIT_S)
    assert done.stderr == ""
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [(line.split(":")[0], int(line.split(":")[1]), line.rpartition("  ")[2]) for line in errors] == [
        ("mistakes.py", 3, "[call-arg]"),
        ("mistakes.py", 11, "[attr-defined]"),
        ("mistakes.py", 12, "[attr-defined]"),
        ("mistakes.py", 13, "[attr-defined]"),
        ("mistakes.py", 14, "[attr-defined]"),
        ("mistakes.py", 15, "[attr-defined]"),
        ("mistakes.py", 16, "[attr-defined]"),
        ("mistakes.py", 17, "[assignment]"),
    ], done.stdout
