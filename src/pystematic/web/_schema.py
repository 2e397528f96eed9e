"""The answers and requests of the page's API, as types: the one contract between the server and the front end.

``scripts/api_types.py`` writes `frontend/src/api/schema.ts` from it. Knows no server and no store.

A run is named by the path of its directory relative to the page's folder, such as ``train/2026-01-02_03-04-05_abcdef``;
in an address it is one segment, percent-encoded. Times are seconds since 1970. What JSON has no number for is a
`Special`. A column is named by the text that filters and sort keys take for it, such as ``metrics['val/loss'].last``.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

SpecialText = str
"""``nan``, ``inf``, ``-inf``, or the digits of an integer that a float does not hold."""


class Special(TypedDict):
    """A number that JSON has none for."""

    special: SpecialText


class Spread(TypedDict):
    """A number of several runs: mean, sample standard deviation (null of fewer than two), and of how many."""

    mean: float | Special | None
    std: float | Special | None
    n: int


Json = Any
"""Anything that JSON can hold; numbers that it cannot hold are `Special`."""

Cell = Json
"""A value in a table: number, text, bool, null, `Special`, list or object; `Spread` in rows of groups."""

ColumnKind = Literal["field", "parameter", "metric"]
ColumnType = Literal["number", "text", "time", "duration", "bool", "list", "mixed"]
Statistic = Literal["first", "last", "min", "max", "mean", "count", "min_step", "max_step"]
XAxis = Literal["step", "time", "relative"]
Scale = Literal["linear", "log"]
TagKind = Literal["scalar", "image", "figure", "histogram", "text", "table"]


# -- errors ----------------------------------------------------------------------------------------------------------


class Problem(TypedDict):
    """What is wrong with a request.

    ``position`` is the number of the character in the filter or sort key where it goes wrong, null where there is none.
    ``field`` is which text of the request is meant: ``where``, ``sort``, ``group_by``, ``columns``, …; ``hint`` is what
    to do, or an empty text.
    """

    message: str
    field: str | None
    position: int | None
    hint: str


class ErrorAnswer(TypedDict):
    """The body of every answer whose status is 400 or more."""

    error: Problem


# -- the folder ------------------------------------------------------------------------------------------------------


class Session(TypedDict):
    """What the page shows, and who shows it."""

    version: str
    root: str
    name: str
    n_runs: int
    n_running: int
    damaged: list[str]
    n_sweeps: int
    pid: int
    now: float


class Column(TypedDict):
    """A column that the table can show.

    ``name`` is what filters, sort keys, ``group_by`` and ``columns`` take; ``label`` is for people. ``tag`` and
    ``statistic`` say which metric it is. ``varies`` and ``n_values`` (of distinct values over all runs) are of
    parameters; a metric's ``n_values`` is null, as it is not counted. ``shown`` says whether the table shows it when
    nobody has chosen.
    """

    name: str
    label: str
    kind: ColumnKind
    type: ColumnType
    varies: bool
    n_values: int | None
    shown: bool
    tag: NotRequired[str]
    statistic: NotRequired[Statistic]
    direction: NotRequired[Literal["max", "min"]]


class Row(TypedDict):
    """A run, or a group of runs: then ``id`` is null, ``members`` are its runs, and numbers are `Spread`.

    ``status`` of a group is that of all its runs, or ``mixed``.
    """

    id: str | None
    status: str
    values: list[Cell]
    tags: list[str]
    note: str
    n: NotRequired[int]
    members: NotRequired[list[str]]


class Table(TypedDict):
    """A window of the table: ``total`` runs are there, ``matching`` rows fulfil the filter (groups where grouped).

    ``warning`` names parameters and metrics of the filter that no run has.
    """

    columns: list[Column]
    total: int
    matching: int
    offset: int
    rows: list[Row]
    warning: str


class RunsRequest(TypedDict):
    """Some runs."""

    runs: list[str]


class TagsRequest(TypedDict):
    """``kinds``: only these; scalars alone come at once, others take a look at all that was recorded."""

    runs: list[str]
    kinds: NotRequired[list[TagKind]]


class Tag(TypedDict):
    """Something recorded, and by how many of the runs."""

    tag: str
    kind: TagKind
    n_runs: int


# -- series ----------------------------------------------------------------------------------------------------------


class SeriesRequest(TypedDict):
    """Which points of which runs.

    ``from`` and ``to`` bound x; null and absent mean all. ``buckets`` is the width of the chart in pixels.
    ``scale`` is that of the x axis. ``smoothing`` in 0..1 adds the exponential moving average.
    """

    runs: list[str]
    tag: str
    x: NotRequired[XAxis]
    to: NotRequired[float | None]
    buckets: NotRequired[int]
    scale: NotRequired[Scale]
    smoothing: NotRequired[float]


# Python has the word `from` for itself.
SeriesRequest.__annotations__["from"] = NotRequired[float | None]


class NonFinite(TypedDict):
    """A point whose value is no finite number."""

    x: float
    value: Literal["nan", "inf", "-inf"]


class Line(TypedDict):
    """Finite points in the order of x."""

    x: list[float]
    y: list[float]


class Series(TypedDict):
    """The points of one run in the window, and the nearest one on either side of it.

    With ``sampled`` they are the smallest and the largest of every bucket, the first and the last point; else all.
    ``n_points`` counts those in the window, ``n_nonfinite`` those of them that are marked apart (of which not all are
    listed when there are very many).
    """

    run: str
    n_points: int
    n_nonfinite: int
    sampled: bool
    x: list[float]
    y: list[float]
    nonfinite: list[NonFinite]
    smooth: Line | None


class SeriesAnswer(TypedDict):
    """In the order of the request; a run that has not recorded the tag has no points."""

    tag: str
    x: XAxis
    series: list[Series]


class BandGroup(TypedDict):
    """Runs that are drawn as one."""

    key: str
    runs: list[str]


class BandsRequest(TypedDict):
    """As `SeriesRequest`, of groups."""

    groups: list[BandGroup]
    tag: str
    x: NotRequired[XAxis]
    to: NotRequired[float | None]
    buckets: NotRequired[int]
    scale: NotRequired[Scale]


BandsRequest.__annotations__["from"] = NotRequired[float | None]


class Band(TypedDict):
    """Mean, sample standard deviation (null of one run), and number of runs at each x; the extremes of all points.

    Where the runs have few and equal x, there is an entry for each; else (``sampled``) for each bucket with points, of
    the means of the runs in it.
    """

    key: str
    n_runs: int
    sampled: bool
    x: list[float]
    mean: list[float]
    std: list[float | None]
    n: list[int]
    min: list[float]
    max: list[float]


class BandsAnswer(TypedDict):
    """In the order of the request."""

    tag: str
    x: XAxis
    groups: list[Band]


# -- comparing -------------------------------------------------------------------------------------------------------


class Difference(TypedDict):
    """What differs between runs: ``values`` in the order of the runs, null where one has none."""

    name: str
    values: list[Cell]


class Comparison(TypedDict):
    """All in which the records of runs differ, and nothing else."""

    runs: list[str]
    parameters: list[Difference]
    code: list[Difference]
    packages: list[Difference]
    metrics: list[Difference]


# -- one run ---------------------------------------------------------------------------------------------------------


class ParameterValue(TypedDict):
    """A parameter, and where its value came from."""

    name: str
    value: Json
    source: str | None


class Metric(TypedDict):
    """The summary of one tag; null where only NaN was recorded. ``ends_in_nan`` where the newest point is NaN."""

    tag: str
    first: float | Special | None
    last: float | Special | None
    min: float | Special | None
    max: float | Special | None
    mean: float | Special | None
    count: int
    min_step: float | Special | None
    max_step: float | Special | None
    ends_in_nan: NotRequired[bool]


class RunError(TypedDict):
    """Why a run has failed."""

    type: str
    message: str
    traceback: str


class FileEntry(TypedDict):
    """A file of the run directory; ``url`` is where it can be had, ``inline`` whether the browser may show it."""

    path: str
    size_bytes: int
    changed_at: float
    url: str
    inline: bool


class Checkpoint(TypedDict):
    """A listed checkpoint; ``entry`` is all that the manifest says of it."""

    id: str
    file: str
    step: Json
    size_bytes: int | None
    best: bool
    url: str
    entry: Json


class LogFile(TypedDict):
    """The log of one process."""

    rank: int
    size_bytes: int


class RunLabels(TypedDict):
    """Tags and notes of a run: all tags; the note written later. The ``given`` ones are parameters, and stay."""

    tags: list[str]
    given_tags: list[str]
    note: str
    given_note: str


class Labels(RunLabels):
    """The labels of a run after a change."""

    id: str


class RunPage(RunLabels):
    """All of one run but its log, patch and media."""

    id: str
    run_id: str
    experiment: str
    status: str
    path: str
    started_at: float | None
    ended_at: float | None
    duration: float | None
    exit_code: int | None
    host: str | None
    command: list[str]
    parent: str | None
    sweep: str | None
    metric: str | None
    error: RunError | None
    parameters: list[ParameterValue]
    metrics: list[Metric]
    dropped: int
    damaged_lines: int
    attempts: list[dict[str, Json]]
    code: dict[str, Json]
    environment: dict[str, Json]
    has_patch: bool
    patch_size_bytes: int
    logs: list[LogFile]
    checkpoints: list[Checkpoint]
    files: list[FileEntry]
    files_left_out: int
    media: list[Tag]


class LogLine(TypedDict):
    """A line of a log, counted from 1; ``cut`` says that it is too long, and only its beginning is here."""

    number: int
    text: str
    cut: NotRequired[bool]


class LogWindow(TypedDict):
    """Some lines of a log.

    Asked with ``from`` (a line's number) and ``lines``; without ``from`` the last lines. Asked with ``search`` (and
    ``after``, a line's number) the next lines that hold the text, in any case; ``next`` is then the ``after`` with
    which the search goes on, null at the end. ``rank`` chooses the process.
    """

    size_bytes: int
    n_lines: int
    lines: list[LogLine]
    next: int | None


class Patch(TypedDict):
    """The uncommitted changes that a run was started with; ``cut`` says that there is more, to be had at ``url``."""

    text: str
    size_bytes: int
    cut: bool
    url: str | None


class Histogram(TypedDict):
    """Counts between edges."""

    edges: list[float]
    counts: list[int]


class MediaItem(TypedDict):
    """Something recorded beside numbers.

    ``url`` is its file, where it has one. Of an image or figure ``inline`` says that the browser may show it. A text
    stands in ``text``, a table in ``table`` and a histogram in ``histogram``; ``cut`` says that only a part is here.
    ``fields`` is what else was recorded of it.
    """

    kind: TagKind | Literal["artifact", "dataset"]
    tag: str
    step: float
    time: float
    url: str | None
    inline: bool
    size_bytes: int | None
    cut: bool
    text: NotRequired[str]
    table: NotRequired[TableData]
    histogram: NotRequired[Histogram]
    fields: dict[str, Json]


class TableData(TypedDict):
    """A recorded table."""

    columns: list[str]
    rows: list[list[Cell]]


class Media(TypedDict):
    """What was recorded under a tag (or all tags), in the order of time; ``n_items`` are there in all.

    Asked without ``offset``, of many items at most ``limit`` (200) that are spread over all of them.
    """

    n_items: int
    items: list[MediaItem]


class LabelsRequest(TypedDict):
    """The tags that the run shall have besides those given at its start, and its note; what is absent stays."""

    tags: NotRequired[list[str]]
    note: NotRequired[str]


# -- sweeps ----------------------------------------------------------------------------------------------------------


class SweepEntry(TypedDict):
    """A sweep in the list. ``counts`` are of its runs, by status."""

    name: str
    experiment: str
    created_at: float | None
    is_running: bool
    metric: str | None
    n_points: int
    counts: dict[str, int]
    best: float | Special | None


class SweepList(TypedDict):
    """All sweeps, the newest first."""

    sweeps: list[SweepEntry]


class SweepPoint(TypedDict):
    """A point with what has come of it over its seeds; ``values`` in the order of the sweep's ``parameters``."""

    number: int
    values: list[Cell]
    status: str
    statuses: list[str]
    mean: float | Special | None
    std: float | Special | None
    n: int
    runs: list[str]
    log: str


class SweepPage(TypedDict):
    """A sweep: its points, the best first where it has an objective. ``best`` is a point's number."""

    name: str
    experiment: str
    created_at: float | None
    is_running: bool
    metric: str | None
    seeds: list[int | None]
    parameters: list[str]
    varying: list[str]
    counts: dict[str, int]
    n_done: int
    n_runs: int
    best: int | None
    command: list[str]
    points: list[SweepPoint]


# -- live ------------------------------------------------------------------------------------------------------------


class Grown(TypedDict):
    """How far a running run's files have come."""

    id: str
    log_bytes: int
    series_bytes: int


class Change(TypedDict):
    """The data of an event ``change`` of /api/live: what is new or different, what is gone, which sweeps have changed.

    The first event of a connection is ``hello`` with an empty one.
    """

    changed: list[str]
    removed: list[str]
    grown: list[Grown]
    sweeps: list[str]


# -- the report ------------------------------------------------------------------------------------------------------


class Report(TypedDict):
    """What a report file holds: answers as the API gives them. ``series`` by tag, x by step, one answer each.

    ``groups`` is the table grouped by what varies besides the seed, null where nothing is grouped.
    """

    version: str
    created_at: float
    root: str
    title: str
    columns: list[Column]
    table: Table
    tags: list[Tag]
    series: list[SeriesAnswer]
    relative: list[SeriesAnswer]
    comparison: Comparison
    runs: list[RunPage]
