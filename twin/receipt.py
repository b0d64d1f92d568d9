"""The receipt of a loaded file: what came in, what did not, where it stands, and what was repaired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from twin.model import Issue, Model, Placement
from twin.store import records


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one file; `line` is its JSON.

    `products` … `excluded` account for an IFC file's products, None for other kinds; `counts` are the assets in the
    city, by table; `repairs` is how many rows the repair log has, by action; `revision` numbers what its source brought
    so far, `unchanged` says that this is the revision that was there; `account` is whatever else the reader says;
    `notes` are what the load did by itself that a person may not expect; `errors` has doubts too when `refused` is
    false.
    """

    file: str
    source: str
    kind: str
    refused: bool
    revision: int | None = None
    unchanged: bool = False
    schema: str | None = None
    schema_alias: str | None = None
    products: int | None = None
    meshed: int | None = None
    empty: int | None = None
    failed: int | None = None
    excluded: Mapping[str, int] | int | None = None
    placement: Placement | None = None
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    repairs: Mapping[str, int] = field(default_factory=dict[str, int])
    account: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0
    peak_mb: float = 0.0
    notes: Sequence[str] = ()
    errors: Sequence[Issue] = ()

    def line(self, **more: Any) -> str:
        """Return the receipt as one line of JSON, with `more` members at its end."""
        if not more:
            return msgspec.json.encode(self).decode()
        return msgspec.json.encode({**msgspec.to_builtins(self), **more}).decode()


_OWN = ("schema", "schema_alias", "products", "meshed", "empty", "failed", "excluded")


def receipt(
    file: Path,
    model: Model,
    *,
    revision: int,
    unchanged: bool,
    notes: Sequence[str] = (),
    seconds: float = 0.0,
    peak_mb: float = 0.0,
) -> Receipt:
    """Return the receipt of a model that is in the city; `peak_mb` is the most memory that reading it took."""
    account = dict(model.account)
    known = {name: account.pop(name, None) for name in _OWN}
    return Receipt(
        str(file),
        model.source,
        model.kind,
        refused=False,
        revision=revision,
        unchanged=unchanged,
        **known,
        placement=model.placement,
        counts={name: len(getattr(model, name)) for name in records.NAMES},
        repairs=dict(Counter(repair.action.value for repair in model.repairs)),
        account=account,
        seconds=round(seconds, 3),
        peak_mb=round(peak_mb, 1),
        notes=notes,
        errors=model.issues,
    )


def refusal(
    file: Path, source: str, kind: str, error: Exception, *, seconds: float = 0.0, peak_mb: float = 0.0
) -> Receipt:
    """Return the receipt of a file that did not come in, and why."""
    code = getattr(error, "code", "E_READER")
    issue = Issue(code, str(error).removeprefix(f"{code} "))
    return Receipt(
        str(file), source, kind, refused=True, seconds=round(seconds, 3), peak_mb=round(peak_mb, 1), errors=(issue,)
    )
