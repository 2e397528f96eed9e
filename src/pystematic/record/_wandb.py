"""Weights & Biases: a run online, or offline in the run directory; it is never asked for a key."""

from __future__ import annotations

import json
import os
import sys

from pystematic import rundir

from ._backend import Backend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._backend import RunFacts, ScalarBatch

PENDING_LIMIT = 200_000
# How long its own process keeps what it was given, 15 s if nobody says so.
FLUSH_PERIOD_S = 1.0


class WandbBackend(Backend):
    """Logs into ``wandb/`` of the run directory, from where ``wandb sync`` brings what was recorded offline.

    Online where a key is known (WANDB_API_KEY or a netrc file) and WANDB_MODE says nothing else. Steps may come in any
    order, which W&B's own do not: they are logged as ``step``, the default x axis of all charts.
    """

    name = "wandb"

    def __init__(self) -> None:
        self.dropped = 0
        self._pending: list[tuple[int | float, float, dict[str, Any]]] = []
        self._exit_code = 0

    def start(self, run: RunFacts) -> None:
        # When the program uses it as well, what belongs to the process is the program's.
        self._is_ours = "wandb" not in sys.modules
        _import_numpy()
        import wandb

        self._wandb = wandb
        try:
            self._run = self._begin(run, choose_mode())
        except BaseException:
            self._end_service()
            raise
        self._run.define_metric("*", step_metric="step")

    def _begin(self, run: RunFacts, mode: Any) -> Any:
        wandb = self._wandb
        if self._is_ours and mode == "offline":
            _send_no_telemetry()
        settings = wandb.Settings(
            root_dir=run.folder, mode=mode, silent=True, console="off", disable_git=True, save_code=False
        )
        if "x_transaction_log_flush_interval" in type(settings).model_fields:
            settings.x_transaction_log_flush_interval = FLUSH_PERIOD_S
        return wandb.init(
            project=None if os.environ.get("WANDB_PROJECT") else run.experiment.replace("/", "-"),
            id=_allowed(run.run_id),
            name=run.run_id,
            config=_plain(run.params),
            tags=[str(tag)[:64] for tag in run.params.get("tags") or ()] or None,
            notes=run.params.get("note") or None,
            reinit="create_new",
            resume="allow" if mode == "online" else None,
            settings=settings,
        )

    def _end_service(self) -> None:
        """End the process that it has started, unless the program uses it too."""
        if self._is_ours and self._wandb.run is None:
            self._wandb.teardown()

    def write(self, batch: ScalarBatch) -> None:
        if len(self._pending) > PENDING_LIMIT:
            self.dropped += len(batch.tags)
            return
        for tag, step, now, value in zip(batch.tags, batch.steps, batch.times, batch.values, strict=True):
            key = _key(tag)
            # One row for what was recorded at one step, as W&B counts and shows rows.
            if self._pending and self._pending[-1][0] == step and key not in self._pending[-1][2]:
                self._pending[-1][2][key] = value
            else:
                self._pending.append((step, now, {key: value}))

    def flush(self) -> None:
        while self._pending:
            step, now, values = self._pending[0]
            self._run.log({**values, "step": step, "_timestamp": now})
            del self._pending[0]

    def write_item(self, item: rundir.Item) -> None:
        self.flush()
        if item.kind == "params":
            config: Any = self._run.config
            config.update(_plain(item.data["params"]), allow_val_change=True)
        elif item.kind in ("artifact", "dataset"):
            self._log_artifact(item)
        else:
            media = self._media(item)
            if media is not None:
                self._run.log({_key(item.tag): media, "step": item.step, "_timestamp": item.time})

    def _media(self, item: rundir.Item) -> Any:
        wandb = self._wandb
        if item.kind in ("image", "figure") and item.file is not None:
            if item.file.suffix == ".png":
                return wandb.Image(os.fspath(item.file))
            return wandb.Plotly(json.loads(item.file.read_bytes()))
        if item.kind == "histogram" and len(item.data["edges"]) > 1:
            return wandb.Histogram(np_histogram=(item.data["counts"], item.data["edges"]))
        if item.kind == "table":
            columns, rows = rundir.read_table(item)
            return wandb.Table(columns=columns, data=rows, allow_mixed_types=True)
        if item.kind == "text":
            import html

            text = item.data["text"] if item.file is None else item.file.read_text("utf-8")
            return wandb.Html(f"<pre>{html.escape(text)}</pre>")
        return None

    def _log_artifact(self, item: rundir.Item) -> None:
        artifact = self._wandb.Artifact(_allowed(item.tag), type=item.kind, metadata={"sha256": item.data["sha256"]})
        if item.file is None:
            artifact.add_reference(_file_uri(item.data["original"]), checksum=False)
        elif item.file.is_dir():
            for path in sorted(item.file.rglob("*")):  # not `add_dir`, which prints
                if path.is_file():
                    artifact.add_file(os.fspath(path), path.relative_to(item.file).as_posix(), policy="immutable")
        else:
            artifact.add_file(os.fspath(item.file), policy="immutable")
        self._run.log_artifact(artifact)

    def set_status(self, status: str) -> None:
        self._exit_code = 1 if status in ("failed", "interrupted") else 0

    def close(self) -> None:
        self.dropped += len(self._pending)
        self._run.finish(exit_code=self._exit_code)
        self._end_service()


def _import_numpy() -> None:
    """Import NumPy, if it is there: else W&B puts something in its place, that for others is NumPy only in part."""
    try:
        __import__("numpy")
    except ImportError:
        return


def choose_mode() -> str:
    """Return what WANDB_MODE says, else ``online`` where a key is known, else ``offline``."""
    return os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")


def _has_key() -> bool:
    """Tell whether there is a key to log in with, as W&B itself looks for one, but without asking."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    import netrc
    import urllib.parse

    host = urllib.parse.urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    for path in (os.environ.get("NETRC"), os.path.expanduser("~/.netrc"), os.path.expanduser("~/_netrc")):
        try:
            if path and netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _send_no_telemetry() -> None:
    """Keep W&B from sending statistics of its own while it is asked to stay offline."""
    try:
        from wandb.analytics.opentelemetry import opentelemetry_proxy

        opentelemetry_proxy.disable()
    except Exception:  # no public part of it: another version may have nothing of the kind
        return


def _allowed(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in _text(name))[:128] or "unnamed"


def _key(tag: str) -> str:
    """Return the key of a tag in a row, which is neither one that W&B and we keep for ourselves, nor another tag's."""
    text = _text(tag)
    return f"{text}'" if text in ("", "step") or text.startswith("_") or text.endswith("'") else text


def _text(tag: str) -> str:
    return tag if rundir.is_unicode(tag) else rundir.shown_tag(tag)


def _plain(params: Any) -> dict[str, Any]:
    plain: dict[str, Any] = rundir.strict_json(rundir.encode_json(dict(params)))
    return plain


def _file_uri(path: str) -> str:
    import pathlib

    return pathlib.Path(path).as_uri()


def make_backend() -> Backend:
    return WandbBackend()
