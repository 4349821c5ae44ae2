"""A SELECT compiled once and run on the driver's own cursor, for what every request reads.

SQLAlchemy's Connection costs 60 to 100 µs around a query that SQLite answers in 4: opening, beginning, looking up the
compiled form, making a result and its rows. None of that is needed for one SELECT whose text never changes.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.types import TypeEngine

#: Runs a text with its parameters and gives all rows, as the driver has them.
Fetch = Callable[[str, Any], list[Any]]

_Processor = Callable[[Any], Any]


class CompiledSelect:
    """One SELECT of one database: made at the store's start, called from any thread.

    Called with the statement's ``bindparam`` names, it gives all rows as named tuples, values as the columns' types
    have them (a datetime, a list), just like ``connection.execute(statement, …).all()``. With ``as_is`` rows and values
    are as the driver gives them, for a caller to whom a microsecond a row matters. It is a transaction of its own and
    sees one state; use ``Database.read`` where several statements must see the same one.

    A text has to stand for all values: a list of unknown length (``in_(bindparam(…, expanding=True))``) has none.
    """

    def __init__(self, statement: Select[Any], *, dialect: Dialect, fetch: Fetch, as_is: bool = False) -> None:
        compiled = statement.compile(dialect=dialect)
        if compiled.post_compile_params:
            raise TypeError("a statement whose text depends on its parameters cannot be compiled once")
        self._fetch = fetch
        self._text = str(compiled)
        #: The parameters' names in the order of the text, where the driver counts them.
        self._order = compiled.positiontup if compiled.positional else None
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self._given = frozenset(name for name, bind in binds.items() if bind.required)
        processors = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in binds.items()}
        self._into = {name: process for name, process in processors.items() if process is not None}
        self._constants = {name: bind.value for name, bind in binds.items() if not bind.required}
        for name in self._into.keys() & self._constants.keys():
            self._constants[name] = self._into.pop(name)(self._constants[name])
        columns = list(statement.selected_columns)
        self._as_is = as_is
        row_type: Any = namedtuple("CompiledRow", [column.name for column in columns])  # type: ignore[misc]
        self._make = row_type._make
        self._out = [
            (index, process)
            for index, column in enumerate(columns)
            if (process := _result_processor(column.type, dialect)) is not None
        ]

    def __call__(self, **parameters: Any) -> list[Any]:
        """All rows, as named tuples.

        Raises: TypeError unless exactly the statement's parameters are named; StoreUnavailable.
        """
        return self.rows(parameters)

    def rows(self, parameters: Mapping[str, Any]) -> list[Any]:
        """As a call, with the parameters in one mapping."""
        if parameters.keys() != self._given:
            raise TypeError(f"the statement takes {sorted(self._given)}, not {sorted(parameters)}")
        found = self._fetch(self._text, self._bound(parameters))
        return found if self._as_is else [self._make(self._read(row)) for row in found]

    def first(self, **parameters: Any) -> Any:
        """The first row, or None. Raises as a call does."""
        rows = self(**parameters)
        return rows[0] if rows else None

    def _bound(self, parameters: Mapping[str, Any]) -> Any:
        bound = parameters
        if self._constants or self._into:
            bound = {**self._constants, **parameters}
            for name, process in self._into.items():
                bound[name] = process(bound[name])
        return bound if self._order is None else [bound[name] for name in self._order]

    def _read(self, row: Any) -> Any:
        if not self._out:
            return row
        values = list(row)
        for index, process in self._out:
            values[index] = process(values[index])
        return values


def _result_processor(kind: TypeEngine[Any], dialect: Dialect) -> _Processor | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
