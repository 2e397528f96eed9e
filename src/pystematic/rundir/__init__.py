"""The run directory: every file of a run, its format, and its reader beside its writer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.rundir._checkpoints import checkpoint_path as checkpoint_path
    from pystematic.rundir._checkpoints import cut_series as cut_series
    from pystematic.rundir._checkpoints import file_sha256 as file_sha256
    from pystematic.rundir._checkpoints import find_leftover_checkpoints as find_leftover_checkpoints
    from pystematic.rundir._checkpoints import is_whole as is_whole
    from pystematic.rundir._checkpoints import read_manifest as read_manifest
    from pystematic.rundir._checkpoints import remove_leftovers as remove_leftovers
    from pystematic.rundir._checkpoints import run_of_checkpoint as run_of_checkpoint
    from pystematic.rundir._checkpoints import unlisted_checkpoints as unlisted_checkpoints
    from pystematic.rundir._checkpoints import write_manifest as write_manifest
    from pystematic.rundir._clock import last_touched as last_touched
    from pystematic.rundir._clock import server_time as server_time
    from pystematic.rundir._codec import MASKED as MASKED
    from pystematic.rundir._codec import Exact as Exact
    from pystematic.rundir._codec import StoredText as StoredText
    from pystematic.rundir._codec import decode as decode
    from pystematic.rundir._codec import encode as encode
    from pystematic.rundir._documents import RunDocument as RunDocument
    from pystematic.rundir._documents import finish_for_dead as finish_for_dead
    from pystematic.rundir._documents import format_time as format_time
    from pystematic.rundir._files import create_document as create_document
    from pystematic.rundir._files import read_document as read_document
    from pystematic.rundir._files import replace_file as replace_file
    from pystematic.rundir._files import strict_json as strict_json
    from pystematic.rundir._files import write_document as write_document
    from pystematic.rundir._items import KINDS as KINDS
    from pystematic.rundir._items import Item as Item
    from pystematic.rundir._items import ItemFile as ItemFile
    from pystematic.rundir._items import encode_json as encode_json
    from pystematic.rundir._items import format_item as format_item
    from pystematic.rundir._items import read_items as read_items
    from pystematic.rundir._items import read_table as read_table
    from pystematic.rundir._layout import SWEEPS_NAME as SWEEPS_NAME
    from pystematic.rundir._layout import JobDir as JobDir
    from pystematic.rundir._layout import RunDir as RunDir
    from pystematic.rundir._layout import SweepDir as SweepDir
    from pystematic.rundir._layout import create_artifact as create_artifact
    from pystematic.rundir._layout import create_item_file as create_item_file
    from pystematic.rundir._layout import create_run_dir as create_run_dir
    from pystematic.rundir._layout import is_metrics_name as is_metrics_name
    from pystematic.rundir._layout import item_name as item_name
    from pystematic.rundir._layout import jobs_folder as jobs_folder
    from pystematic.rundir._layout import rank_of_metrics_file as rank_of_metrics_file
    from pystematic.rundir._layout import stop_request_file as stop_request_file
    from pystematic.rundir._layout import sweep_names as sweep_names
    from pystematic.rundir._layout import unusable as unusable
    from pystematic.rundir._merge import RankMerge as RankMerge
    from pystematic.rundir._merge import RankPoints as RankPoints
    from pystematic.rundir._merge import merge_points as merge_points
    from pystematic.rundir._merge import merge_values as merge_values
    from pystematic.rundir._process import host_name as host_name
    from pystematic.rundir._process import is_alive as is_alive
    from pystematic.rundir._process import process_identity as process_identity
    from pystematic.rundir._scalars import REDUCTIONS as REDUCTIONS
    from pystematic.rundir._scalars import Columns as Columns
    from pystematic.rundir._scalars import ScalarFormatter as ScalarFormatter
    from pystematic.rundir._scalars import Weights as Weights
    from pystematic.rundir._scalars import spell_int as spell_int
    from pystematic.rundir._series import Points as Points
    from pystematic.rundir._series import RecordedSeries as RecordedSeries
    from pystematic.rundir._series import SeriesFile as SeriesFile
    from pystematic.rundir._series import SeriesWriter as SeriesWriter
    from pystematic.rundir._series import by_tag as by_tag
    from pystematic.rundir._series import read_series as read_series
    from pystematic.rundir._summary import ENDS_IN_NAN as ENDS_IN_NAN
    from pystematic.rundir._summary import Tally as Tally
    from pystematic.rundir._summary import is_current_summary as is_current_summary
    from pystematic.rundir._summary import make_summary as make_summary
    from pystematic.rundir._summary import parse_metrics as parse_metrics
    from pystematic.rundir._summary import rewrite_summary as rewrite_summary
    from pystematic.rundir._summary import summarize as summarize
    from pystematic.rundir._tags import SYSTEM_PREFIX as SYSTEM_PREFIX
    from pystematic.rundir._tags import is_unicode as is_unicode
    from pystematic.rundir._tags import shown_tag as shown_tag
    from pystematic.rundir._text_documents import parse_json_with_lines as parse_json_with_lines
    from pystematic.rundir._text_documents import parse_toml_with_lines as parse_toml_with_lines
    from pystematic.rundir._yaml import ParameterLines as ParameterLines
    from pystematic.rundir._yaml import format_parameters as format_parameters
    from pystematic.rundir._yaml import parse_parameters as parse_parameters
    from pystematic.rundir._yaml import parse_yaml as parse_yaml
    from pystematic.rundir._yaml import read_parameters as read_parameters

# Loaded by module when first asked for: a start needs few of them, a help page none.
_HOMES = {
    "_checkpoints": (
        *("checkpoint_path", "cut_series", "file_sha256", "find_leftover_checkpoints", "is_whole"),
        *("read_manifest", "remove_leftovers", "run_of_checkpoint", "unlisted_checkpoints", "write_manifest"),
    ),
    "_clock": ("last_touched", "server_time"),
    "_codec": ("MASKED", "Exact", "StoredText", "decode", "encode"),
    "_documents": ("RunDocument", "finish_for_dead", "format_time"),
    "_files": ("create_document", "read_document", "replace_file", "strict_json", "write_document"),
    "_items": ("KINDS", "Item", "ItemFile", "encode_json", "format_item", "read_items", "read_table"),
    "_layout": (
        *("SWEEPS_NAME", "RunDir", "create_artifact", "create_item_file", "create_run_dir", "item_name"),
        *(
            "JobDir",
            "SweepDir",
            "jobs_folder",
            "is_metrics_name",
            "rank_of_metrics_file",
            "stop_request_file",
            "sweep_names",
            "unusable",
        ),
    ),
    "_merge": ("RankMerge", "RankPoints", "merge_points", "merge_values"),
    "_process": ("host_name", "is_alive", "process_identity"),
    "_scalars": ("REDUCTIONS", "ScalarFormatter", "spell_int"),
    "_series": ("Points", "RecordedSeries", "SeriesFile", "SeriesWriter", "by_tag", "read_series"),
    "_summary": (
        *("ENDS_IN_NAN", "Tally", "is_current_summary", "make_summary"),
        *("parse_metrics", "rewrite_summary", "summarize"),
    ),
    "_tags": ("SYSTEM_PREFIX", "is_unicode", "shown_tag"),
    "_text_documents": ("parse_json_with_lines", "parse_toml_with_lines"),
    "_yaml": ("ParameterLines", "format_parameters", "parse_parameters", "parse_yaml", "read_parameters"),
}


def __getattr__(name: str) -> object:
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            # Kept, as the next look-up then costs nothing: readers of many runs make thousands.
            value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
