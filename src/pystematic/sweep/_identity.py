"""What a run is: its experiment and its identity parameters, as one short key that every process computes alike."""

from __future__ import annotations

import hashlib
import json

from pystematic.declare import Spec
from pystematic.resolve import Parameters, plain_parameters
from pystematic.rundir import strict_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SEED_NAME = "random_seed"
# 64 bits: of a million runs two share a key by chance with a probability of 3 in a hundred million.
_KEY_LENGTH = 16


def identity_names(spec: Spec) -> frozenset[str]:
    """Return the names of the parameters that are part of what a run is."""
    return frozenset(parameter.name for parameter in spec.parameters if parameter.identity)


def plain_identity(spec: Spec, parameters: Mapping[str, Any]) -> dict[str, object]:
    """Return the identity parameters as ``parameters.yaml`` holds them."""
    names = identity_names(spec)
    return plain_parameters(spec, Parameters({name: value for name, value in parameters.items() if name in names}))


def run_key(experiment: str, plain: Mapping[str, object]) -> str:
    """Return the key of a run.

    Args:
        experiment: full name.
        plain: its identity parameters, as `plain_identity` returns them or a record holds them.
    """
    return key_of({"experiment": experiment, "parameters": dict(plain)})


def point_key(experiment: str, plain: Mapping[str, object]) -> str:
    """Return the key of a point, which runs with several seeds share."""
    return run_key(experiment, {name: value for name, value in plain.items() if name != SEED_NAME})


def key_of(content: object) -> str:
    """Return a short hash of anything that JSON can hold, the same for equal content in any order."""
    text = json.dumps(strict_json(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_KEY_LENGTH]
