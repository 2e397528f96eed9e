"""Parameters with odd values: equal after they are read back, or marked as not restorable; the run never dies."""

from __future__ import annotations

from faults._harness import Place, expect, last_line

# Imported by the program and by the reader. RESTORED must come back equal, from the store and into a new run;
# TYPED come back into a new run, by the declared type; the others may be stored as text.
ODD_VALUES = """
    import collections, dataclasses, datetime, decimal, enum, pathlib
    import numpy as np

    class Colour(enum.Enum):
        RED = "red"
        BLUE = "blue"

    @dataclasses.dataclass
    class Point:
        x: int
        y: float = 0.5

    class Unprintable:
        def __repr__(self):
            raise RuntimeError("no text of me")

    def anything(text):
        return text

    RESTORED = {
        "path": pathlib.Path("a b/ü/c.txt"),
        "a_tuple": (1, (2.5, "x"), []),
        "a_set": {3, 1, 2},
        "a_frozenset": frozenset({"a", "b"}),
        "some_bytes": bytes(range(256)),
        "np_float": np.float32(0.1),
        "np_int": np.int64(2**62),
        "np_bool": np.bool_(True),
        "np_array": np.arange(6, dtype=np.float64).reshape(2, 3),
        "np_empty": np.zeros((0, 3), dtype=np.uint8),
        "long_text": "0123456789abcdef" * 65536,
        "int_keys": {1: "a", 2: {3: "b"}},
        "mixed_keys": {"1": "text", 1: "number", (1, 2): "tuple", None: "none"},
        "yes_text": "yes",
        "no_text": "no",
        "on_text": "on",
        "null_text": "null",
        "tilde_text": "~",
        "none_text": "none",
        "e_text": "1e3",
        "octal_text": "0o17",
        "sexagesimal_text": "1:30",
        "date_text": "2026-01-02",
        "time_text": "2026-01-02T03:04:05Z",
        "number_text": "12",
        "float_text": ".5",
        "inf_text": ".inf",
        "true_text": "true",
        "empty_text": "",
        "blank_text": "  ",
        "colon_text": "a: b # c",
        "dash_text": "- a",
        "brace_text": "{a: [b}",
        "tag_text": "!!python/object/apply:os.system [echo]",
        "anchor_text": "&a *b",
        "quote_text": "it's \\"quoted\\" \\\\ back",
        "emoji": "😀 👩‍👩‍👧",
        "newline": "a\\nb\\r\\nc\\n",
        "separators": "a\\x85b\\u2028c\\u2029d",
        "nul": "a\\0b",
        "controls": "".join(map(chr, range(32))) + "\\x7f\\ufeff\\ufffe\\uffff",
        "surrogate": "a\\ud800b",
        "surrogate_key": {"\\udfff": 1},
        "big": 10**400,
        "negative_zero": -0.0,
        "tiny": 5e-324,
        "infinity": float("inf"),
        "not_a_number": float("nan"),
        "complex_number": 1 - 2j,
        "a_datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.timezone.utc),
        "naive_datetime": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "a_date": datetime.date(2026, 1, 2),
        "a_time": datetime.time(3, 4, 5),
        "a_timedelta": datetime.timedelta(days=-1, microseconds=3),
        "a_decimal": decimal.Decimal("1.10"),
        "nothing": None,
        "empty_list": [],
        "empty_dict": {},
        "marked_dict": {"$type": "path", "value": "not a path"},
        "nested": [{"a": ({"b": pathlib.Path("c")},)}],
        "deep": __import__("functools").reduce(lambda inner, _: [inner], range(60), []),
    }
    TYPED = {
        "colour": (Colour, Colour.BLUE),
        "colours": (list[Colour], [Colour.RED, Colour.BLUE]),
        "literal_path": (pathlib.Path, pathlib.Path("x")),
    }
    TEXT_ONLY = {
        "a_lambda": lambda: 1,
        "a_class": Point,
        "an_object": object(),
        "unprintable": Unprintable(),
        "a_point": Point(1),
        "a_module": np,
        "object_array": np.array([object()], dtype=object),
        "very_deep": __import__("functools").reduce(lambda inner, _: [inner], range(900), []),
        "cycle": (lambda cycle: cycle.append(cycle) or cycle)([]),
    }

    def same(a, b):
        if type(a) is not type(b):
            return False
        if isinstance(a, np.ndarray):
            return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
        if isinstance(a, float) and a != a:
            return b != b
        if isinstance(a, (list, tuple)):
            return len(a) == len(b) and all(map(same, a, b))
        if isinstance(a, dict):
            return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
        return a == b and repr(a) == repr(b) if isinstance(a, (float, complex)) else a == b
"""

PROGRAM = """
    import sys
    import pystematic
    from odd_values import RESTORED, TEXT_ONLY, TYPED, anything, same

    def declare(function):
        if sys.argv[1] == "store":
            for name, value in {**RESTORED, **TEXT_ONLY}.items():
                # A callable default is asked for its value, so that classes and functions can be values too.
                function = pystematic.parameter(name=name, type=anything, default=lambda value=value: value)(function)
        elif sys.argv[1] == "again":
            for name in {**RESTORED, **TEXT_ONLY}:
                function = pystematic.parameter(name=name, type=anything, default=None)(function)
        for name, (kind, value) in TYPED.items():
            default = value if sys.argv[1] == "store" else None
            function = pystematic.parameter(name=name, type=kind, default=default)(function)
        return function

    @pystematic.experiment
    @declare
    def train(parameters, context):
        wanted = {**RESTORED, **{name: value for name, (_, value) in TYPED.items()}}
        wrong = [name for name, value in wanted.items() if not same(parameters[name], value)]
        print("wrong:", *wrong)

    if __name__ == "__main__":
        pystematic.global_entrypoint(sys.argv[2:])
"""

READER = """
    import sys
    import pystematic
    from odd_values import RESTORED, TEXT_ONLY, TYPED, same

    [run] = pystematic.runs(sys.argv[1])
    assert run.status == "completed", run.status
    for name, value in RESTORED.items():
        if not same(run.params[name], value):
            print(f"{name}: {value!r:.80} came back as {run.params[name]!r:.80}")
    def is_marked(value):
        return type(value).__name__ == "StoredText" or isinstance(value, list) and any(map(is_marked, value))

    for name in TEXT_ONLY:
        if not is_marked(run.params[name]):
            print(f"{name} came back as {run.params[name]!r:.80}, not as marked text")
"""


def odd_values(place: Place) -> None:
    place.write("odd_values.py", ODD_VALUES)
    place.write("prog.py", PROGRAM)
    place.write("reader.py", READER)
    ended = place.run("prog.py", "store", "train")
    expect(ended.code == 0, f"the run ended with {ended.code}: {last_line(ended.stderr)}")
    expect("wrong:\n" in ended.stdout, f"the main function got other values: {last_line(ended.stdout)}")
    place.read()
    ended = place.run("reader.py", place.output_dir)
    expect(ended.code == 0, f"the reader failed: {last_line(ended.stderr)}")
    wrong = ended.stdout.strip().splitlines()
    expect(not wrong, f"{len(wrong)} values came back otherwise; {'; '.join(wrong)}")

    ended = place.run("prog.py", "again", "train", "--params-file", "last")
    expect(ended.code == 0, f"a run with the recorded parameters ended with {ended.code}: {ended.stderr[-600:]}")
    expect("wrong:\n" in ended.stdout, f"a run with the recorded parameters got others: {last_line(ended.stdout)}")
