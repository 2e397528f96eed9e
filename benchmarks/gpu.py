"""What runs on a GPU cost and leave behind: placement, precision, compilation, NCCL, recorded scalars, memory.

`python benchmarks/gpu.py [placement] [numbers] [scalars] [steps] [precision] [compile] [checkpoint] [nccl] [memory]`
needs an NVIDIA GPU. Ratios are of medians of turns that alternate in one process; exit code 1 when a target is missed.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pystematic
import pystematic.torch

TURNS = 5
SCALARS_TARGET = 0.99
MEMORY_FREE_WITHIN_S = 5.0
SOURCES = Path(pystematic.__file__).parent.parent


def run_in_context(body: Callable[[Any], Any], folder: Path, **parameters: Any) -> Any:
    """Return what ``body(context)`` returns in a run of its own on the GPU."""

    @pystematic.experiment(name=body.__name__)
    def checked(parameters: Any, context: Any) -> Any:
        return body(context)

    given = {"output_dir": str(folder), "device": "cuda", "capture": "off", "random_seed": 1, **parameters}
    return checked.run(given).result


def make_mlp(width: int = 1024, depth: int = 4) -> nn.Sequential:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.GELU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def make_data(count: int, width: int = 1024) -> torch.utils.data.TensorDataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, width, generator=generator)
    return torch.utils.data.TensorDataset(inputs, inputs[:, :10].argmax(dim=1))


def seconds_of(call: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


# -- the checks: each yields its name, its figure, and whether that is good (None: only shown) -----------------------

Checked = Iterator[tuple[str, str, "bool | None"]]


def check_placement(folder: Path) -> Checked:
    """Everything that is registered is on the GPU, and batches come there from pinned memory."""

    def placement(context: Any) -> dict[str, bool]:
        model = make_mlp(64)
        context.model = model
        context.optimizer = torch.optim.AdamW(model.parameters())
        context.loader = pystematic.torch.DataLoader(make_data(640, 64), batch_size=64, shuffle=True, num_workers=2)
        found = {"device": str(context.device) == "cuda:0", "same object": context.model is model}
        for inputs, labels in context.loader:
            found["batches"] = inputs.is_cuda and labels.is_cuda
            context.backward(nn.functional.cross_entropy(model(inputs), labels))
            context.step(context.optimizer)
        found["parameters"] = all(one.is_cuda for one in model.parameters())
        moments = [value for state in context.optimizer.state.values() for value in state.values()]
        found["moments"] = all(value.is_cuda for value in moments if value.dim())
        found["pinned"] = context.loader._loader.pin_memory is True
        return found

    for name, is_right in run_in_context(placement, folder).items():
        yield f"placement, {name}", "yes" if is_right else "NO", is_right


def losses_of(folder: Path, device: str) -> list[float]:
    def numbers(context: Any) -> list[torch.Tensor]:
        context.model = make_mlp(64).double()
        context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.1)
        data = make_data(1000, 64)
        data = torch.utils.data.TensorDataset(data.tensors[0].double(), data.tensors[1])
        context.loader = pystematic.torch.DataLoader(data, batch_size=64, shuffle=True)
        losses = []
        for _ in context.epochs(2):
            for inputs, labels in context.loader:
                loss = nn.functional.cross_entropy(context.model(inputs), labels)
                context.backward(loss)
                context.step()
                losses.append(loss.detach().cpu())
        return losses

    return [float(loss) for loss in run_in_context(numbers, folder, device=device)]


def check_numbers(folder: Path) -> Checked:
    """The GPU and the CPU train to the same float64 losses."""
    pairs = list(zip(losses_of(folder, "cpu"), losses_of(folder, "cuda"), strict=True))
    apart = max(abs(first - second) for first, second in pairs)
    yield f"losses of {len(pairs)} steps, CPU against GPU, float64", f"{apart:.1e}", apart < 1e-9


def check_scalars(folder: Path) -> Checked:
    """A loss that is recorded every step costs the loop nothing, as nothing waits for the GPU."""

    def scalars(context: Any) -> dict[str, float]:
        context.model = make_mlp()
        context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.01)
        inputs = torch.randn(512, 1024, device="cuda")
        labels = torch.randint(10, (512,), device="cuda")

        def loop(after: Callable[[torch.Tensor], object]) -> None:
            for _ in range(2000):
                loss = nn.functional.cross_entropy(context.model(inputs), labels)
                torch.autograd.backward(loss)
                context.optimizer.step()
                context.optimizer.zero_grad()
                after(loss)

        ways: dict[str, Callable[[torch.Tensor], object]] = {
            "without": lambda loss: None,
            "recorded": lambda loss: context.recorder.scalar("loss", loss),
            "recorded as loss.item()": lambda loss: context.recorder.scalar("loss", loss.item()),
        }
        loop(ways["without"])
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TURNS):
            for name, after in ways.items():
                times[name].append(seconds_of(lambda after=after: loop(after)))  # type: ignore[misc]
        return {name: 2000 / statistics.median(some) for name, some in times.items()}

    rates = run_in_context(scalars, folder)
    yield "steps/s without a scalar", f"{rates['without']:.0f}", None
    for name in ("recorded", "recorded as loss.item()"):
        ratio = rates[name] / rates["without"]
        yield f"steps/s, {name}", f"{ratio:.3f}", ratio >= SCALARS_TARGET if name == "recorded" else None


def check_steps(folder: Path) -> Checked:
    """The whole loop with context, loader and recorder beside the raw loop of torch."""
    data = make_data(256 * 200)
    options: dict[str, Any] = {"batch_size": 256, "shuffle": True, "num_workers": 4, "persistent_workers": True}

    def steps(context: Any) -> list[float]:
        plain = make_mlp().cuda()
        plain_optimizer = torch.optim.SGD(plain.parameters(), lr=0.01)
        plain_loader = torch.utils.data.DataLoader(data, pin_memory=True, **options)
        context.model = make_mlp()
        context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.01)
        context.loader = pystematic.torch.DataLoader(data, seed_samples=False, **options)

        def raw() -> None:
            for inputs, labels in plain_loader:
                inputs, labels = inputs.cuda(non_blocking=True), labels.cuda(non_blocking=True)
                loss = nn.functional.cross_entropy(plain(inputs), labels)
                torch.autograd.backward(loss)
                plain_optimizer.step()
                plain_optimizer.zero_grad()

        def ours() -> None:
            for inputs, labels in context.loader:
                loss = nn.functional.cross_entropy(context.model(inputs), labels)
                context.backward(loss)
                context.step()
                context.recorder.scalar("loss", loss)
                context.recorder.step()

        raw()
        ours()
        pairs = [(seconds_of(raw), seconds_of(ours)) for _ in range(TURNS)]
        return [statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)]

    theirs, ours = run_in_context(steps, folder)
    yield "steps/s with loader, context and recorder, to the raw loop", f"{theirs / ours:.3f}", theirs / ours >= 0.98


def train(context: Any, steps: int = 300) -> dict[str, float]:
    """Train on one batch after another that lies on the GPU; return the first and last loss and the steps a second."""
    context.model = make_mlp(2048)
    context.optimizer = torch.optim.AdamW(context.model.parameters(), lr=1e-4)
    data = make_data(4096, 2048).tensors
    context.loader = pystematic.torch.DataLoader(
        torch.utils.data.TensorDataset(*data), batch_size=2048, shuffle=True, loading_bar=False
    )
    inputs, labels = data[0].cuda(), data[1].cuda()
    losses = []

    def step() -> None:
        loss = nn.functional.cross_entropy(context.model(inputs), labels)
        context.backward(loss, count=len(labels))
        context.step(clip=1.0)
        losses.append(loss.detach())

    for _ in range(20):
        step()

    def run_steps() -> None:
        for _ in range(steps):
            step()

    took = seconds_of(run_steps)
    in_module = {str(parameter.dtype) for parameter in context.model.parameters()}
    keys = sorted(context.model.state_dict())
    return {
        "first": float(losses[0]),
        "last": float(losses[-1]),
        "rate": steps / took,
        "is_float32": in_module == {"torch.float32"},
        "are_keys_plain": keys == sorted(make_mlp(2048).state_dict()),
    }


def check_precision(folder: Path) -> Checked:
    """bf16 and fp16 learn as fp32 does, with weights in fp32, and faster."""
    rates = {}
    for precision in ("fp32", "bf16", "fp16"):
        found = run_in_context(train, folder, precision=precision)
        rates[precision] = found["rate"]
        learns = found["last"] < 0.5 * found["first"] and bool(found["is_float32"])
        yield f"{precision}, loss", f"{found['first']:.3f} to {found['last']:.4f}", learns
        yield f"{precision}, steps/s to fp32", f"{found['rate'] / rates['fp32']:.2f}", None


def check_compile(folder: Path) -> Checked:
    """A compiled module keeps its names and learns."""
    plain = run_in_context(train, folder, precision="bf16")
    found = run_in_context(train, folder, precision="bf16", compile=True)
    yield "compiled, names of its state", "as before" if found["are_keys_plain"] else "OTHERS", found["are_keys_plain"]
    yield "compiled, loss", f"{found['first']:.3f} to {found['last']:.4f}", found["last"] < 0.5 * found["first"]
    yield "compiled, steps/s to not compiled", f"{found['rate'] / plain['rate']:.2f}", None


def check_checkpoint(folder: Path) -> Checked:
    """A checkpoint of 400 MB on the GPU: how long the loop waits beside torch.save, and that it holds the state."""

    def checkpoint(context: Any) -> dict[str, Any]:
        model = nn.ParameterList([nn.Parameter(torch.randn(5_000_000)) for _ in range(20)])
        context.model = model
        before = [parameter.detach().cpu().clone() for parameter in model]
        plain = []
        for turn in range(3):
            path = folder / f"plain-{turn}.pt"
            plain.append(seconds_of(lambda path=path: torch.save(model.state_dict(), path)))  # type: ignore[misc]
        blocked = []
        for turn in range(4):
            with torch.no_grad():
                blocked.append(seconds_of(lambda turn=turn: context.save_checkpoint(f"t{turn}")))  # type: ignore[misc]
                for parameter in model:
                    parameter.add_(1.0)  # at once: the copy must not see it
            manifest = Path(context.output_dir) / "checkpoints" / "manifest.json"
            while not manifest.exists() or f'"t{turn}"' not in manifest.read_text():
                time.sleep(0.01)  # the next one comes when this one is written, as in a training that computes
        return {"plain": statistics.median(plain), "blocked": blocked, "first": before, "dir": context.output_dir}

    found = run_in_context(checkpoint, folder)
    saved = pystematic.torch.load_checkpoint(next(Path(found["dir"]).rglob("*t3*.pt")))
    weights = find_weights(saved)
    expected = [value + 3.0 for value in found["first"]]
    is_same = len(weights) == 20 and all(
        torch.allclose(one.cpu(), other, atol=1e-4) for one, other in zip(weights, expected, strict=True)
    )
    yield "checkpoint holds what was saved", "yes" if is_same else "NO", is_same
    first, later = found["blocked"][0] / found["plain"], statistics.median(found["blocked"][1:]) / found["plain"]
    yield "checkpoint, loop blocked the first time, to torch.save", f"{first:.2f}", first <= 0.6
    yield "checkpoint, loop blocked later, to torch.save", f"{later:.2f}", later <= 0.35


def find_weights(state: Any) -> list[torch.Tensor]:
    """Return the tensors of five million numbers in a nested state, in their order."""
    if isinstance(state, torch.Tensor):
        return [state] if state.numel() == 5_000_000 else []
    if isinstance(state, dict):
        state = list(state.values())
    return [found for value in state for found in find_weights(value)] if isinstance(state, list | tuple) else []


PROGRAM = """
import sys, time, torch, torch.distributed as dist
from torch import nn
import pystematic, pystematic.torch

@pystematic.experiment
def train(parameters, context):
    torch.manual_seed(0)
    context.model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10)).double()
    context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.1)
    inputs = torch.randn(1000, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    data = torch.utils.data.TensorDataset(inputs, inputs[:, :10].argmax(dim=1))
    context.loader = pystematic.torch.DataLoader(data, batch_size=64, shuffle=True, loading_bar=False)
    for inputs, labels in context.loader:
        loss = nn.functional.cross_entropy(context.model(inputs), labels)
        context.backward(loss)
        context.step()
        print("LOSS", repr(loss.item()))
    print("BACKEND", dist.get_backend() if dist.is_initialized() else "none", context.device)

@pystematic.experiment
def hold(parameters, context):
    held = torch.ones(1 << 30, device=context.device)  # 4 GiB
    data = torch.utils.data.TensorDataset(torch.randn(10_000, 8))
    context.loader = pystematic.torch.DataLoader(data, batch_size=2, num_workers=2, loading_bar=False)
    while True:
        for (batch,) in context.loader:
            held.add_(batch.sum())
            print("HELD", flush=True)

if __name__ == "__main__":
    pystematic.global_entrypoint()
"""


def check_nccl(folder: Path) -> Checked:
    """A distributed run of one process uses NCCL and gives the numbers of one without."""
    (folder / "program.py").write_text(PROGRAM)

    def output(*words: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "program.py", "train", "--device", "cuda", "--random-seed", "1", *words],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=200,
        )
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])
        return done.stdout.splitlines()

    alone, grouped = output(), output("--distributed", "--nproc-per-node", "1")
    losses = [[float(line.split()[1]) for line in lines if line.startswith("LOSS")] for lines in (alone, grouped)]
    apart = max(abs(first - second) for first, second in zip(*losses, strict=True))
    backend = next(line for line in grouped if line.startswith("BACKEND"))
    yield "group of one", backend.removeprefix("BACKEND "), "nccl" in backend and "cuda:0" in backend
    yield f"losses of {len(losses[0])} steps, with and without a group", f"{apart:.1e}", apart < 1e-12


def check_memory(folder: Path) -> Checked:
    """The GPU's memory is free again after a run was killed, whoever was killed."""
    (folder / "program.py").write_text(PROGRAM)
    for name, words, number in (
        ("kill -9 of a run", [], signal.SIGKILL),
        ("kill -9 of the parent of a distributed run", ["--distributed", "--nproc-per-node", "1"], signal.SIGKILL),
        ("SIGTERM to a distributed run", ["--distributed", "--nproc-per-node", "1", "--grace", "2"], signal.SIGTERM),
    ):
        before = used_bytes()
        process = subprocess.Popen(
            [sys.executable, "program.py", "hold", "--device", "cuda", *words],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        if not any("HELD" in line for line in process.stdout):
            raise SystemExit(f"{name}: the program held nothing")
        held = used_bytes() - before
        process.send_signal(number)
        begun = time.perf_counter()
        limit = MEMORY_FREE_WITHIN_S + (2 if number == signal.SIGTERM else 0)
        while used_bytes() > before + (64 << 20) and time.perf_counter() - begun < 3 * limit:
            time.sleep(0.05)
        took = time.perf_counter() - begun
        process.stdout.close()
        process.wait()
        yield f"memory free after {name}", f"{held >> 20} MiB in {took:.1f} s", held > 4e9 and took <= limit


def used_bytes() -> int:
    words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]) << 20


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(SOURCES), os.environ.get("PYTHONPATH")]))}


def main() -> int:
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py needs an NVIDIA GPU, and torch sees none here.", file=sys.stderr)
        return 2
    checks = {name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")}
    unknown = sorted(set(sys.argv[1:]) - set(checks))
    if unknown:
        print(textwrap.fill(f"no such check: {', '.join(unknown)}; there are {', '.join(checks)}"), file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, Python {sys.version.split()[0]}", flush=True)
    bad = 0
    for part in sys.argv[1:] or checks:
        with tempfile.TemporaryDirectory() as folder:
            try:
                for name, figure, is_good in checks[part](Path(folder)):
                    bad += is_good is False
                    word = "" if is_good is None else "ok" if is_good else "MISSED"
                    print(f"{name:62}{figure:>22}   {word}", flush=True)
            except Exception as error:  # the other checks still have something to say
                bad += 1
                print(f"{part}: {type(error).__name__}: {error}   MISSED", flush=True)
                if os.environ.get("DEBUG"):
                    raise
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
