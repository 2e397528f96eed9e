"""The run directory: every file of a run, its format, and its reader beside its writer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.rundir._codec import MASKED as MASKED
    from pystematic.rundir._codec import Exact as Exact
    from pystematic.rundir._codec import StoredText as StoredText
    from pystematic.rundir._codec import decode as decode
    from pystematic.rundir._codec import encode as encode
    from pystematic.rundir._files import read_document as read_document
    from pystematic.rundir._files import replace_file as replace_file
    from pystematic.rundir._files import strict_json as strict_json
    from pystematic.rundir._files import write_document as write_document
    from pystematic.rundir._layout import SWEEPS_NAME as SWEEPS_NAME
    from pystematic.rundir._layout import RunDir as RunDir
    from pystematic.rundir._layout import create_run_dir as create_run_dir
    from pystematic.rundir._layout import unusable as unusable
    from pystematic.rundir._process import host_name as host_name
    from pystematic.rundir._process import is_alive as is_alive
    from pystematic.rundir._process import process_identity as process_identity
    from pystematic.rundir._series import *  # noqa: F403
    from pystematic.rundir._text_documents import parse_json_with_lines as parse_json_with_lines
    from pystematic.rundir._text_documents import parse_toml_with_lines as parse_toml_with_lines
    from pystematic.rundir._yaml import format_parameters as format_parameters
    from pystematic.rundir._yaml import parse_yaml as parse_yaml
    from pystematic.rundir._yaml import read_parameters as read_parameters

# Loaded by module when first asked for: a start needs few of them, a help page none.
_HOMES = {
    "_codec": ("MASKED", "Exact", "StoredText", "decode", "encode"),
    "_files": ("read_document", "replace_file", "strict_json", "write_document"),
    "_layout": ("SWEEPS_NAME", "RunDir", "create_run_dir", "unusable"),
    "_process": ("host_name", "is_alive", "process_identity"),
    "_text_documents": ("parse_json_with_lines", "parse_toml_with_lines"),
    "_yaml": ("format_parameters", "parse_yaml", "read_parameters"),
}


def __getattr__(name: str) -> object:
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}._series"), name)
