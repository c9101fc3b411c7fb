"""Parts of the report's page, as `report.html.jinja` renders them."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
  """A table whose first column holds the rows' headings.

  Attributes:
    headings: One a column.
    rows: Cells, as many a row as there are headings.
    breaks: Indices of rows that start a new group.
  """

  headings: Sequence[str]
  rows: Sequence[Sequence]
  breaks: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Fold:
  """A table that a click opens.

  Attributes:
    summary: The line that is always shown.
    table: What is folded.
    text: A paragraph before it, or "".
    open: Whether it starts open.
  """

  summary: str
  table: Table
  text: str = ""
  open: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
  """A plot.

  Attributes:
    name: Identifier in the page.
    title: Heading and alternative text.
    text: Caption that says what is to be seen.
    data: The PNG, base64.
  """

  name: str
  title: str
  text: str
  data: str


@dataclasses.dataclass(frozen=True)
class Section:
  """A heading with what belongs to it.

  Attributes:
    heading: Its title.
    text: A paragraph, or "".
    table: One table, or None.
    figures: Plots.
    folds: Folded tables.
  """

  heading: str
  text: str = ""
  table: Table | None = None
  figures: Sequence[Picture] = ()
  folds: Sequence[Fold] = ()


@dataclasses.dataclass(frozen=True)
class Front:
  """The first page.

  Attributes:
    verdict: What came out, a sentence or two.
    level: "leaked", "partly", "nothing" or "unknown": how the box looks.
    facts: Pairs of a question and its answer.
    table: A row a method where there are several, or None.
  """

  verdict: str
  level: str
  facts: Sequence[tuple[str, str]]
  table: Table | None = None
