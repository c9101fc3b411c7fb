"""Tables of the report as HTML."""

import html

# With more columns than this, a table puts limits below their estimate.
_WIDE = 7


def render(headings, rows, breaks=()):
  """A table whose cells carry their heading, so that a phone can stack them.

  Args:
    headings: List of str.
    rows: List of lists of as many cells; the first is the row's heading.
    breaks: Indices of rows that start a new group.

  Returns:
    str, HTML.
  """
  wide = ' class="wide"' if len(headings) > _WIDE else ""
  head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in headings)
  lines = []
  for index, row in enumerate(rows):
    first, *rest = [_wrapped(html.escape(str(cell))) for cell in row]
    cells = "".join(
      f'<td data-label="{html.escape(heading)}">{cell}</td>'
      for heading, cell in zip(headings[1:], rest)
    )
    label = html.escape(headings[0])
    mark = ' class="first"' if index in breaks else ""
    lines.append(
      f'<tr{mark}><th scope="row" data-label="{label}">{first}</th>{cells}</tr>'
    )
  return (
    f"<table{wide}><thead><tr>{head}</tr></thead>"
    f"<tbody>{''.join(lines)}</tbody></table>"
  )


def _wrapped(cell):
  """A cell whose limits in parentheses stay together on one line."""
  estimate, space, limits = cell.partition(" (")
  if not space:
    return cell
  limits, _, rest = limits.partition(")")
  return f'<span>{estimate} <span class="limits">({limits})</span>{rest}</span>'


def minus(text):
  """Text of numbers with true minus signs."""
  return text.replace("-", "−")


def number(interval, scale, digits):
  """ "12.3 (10.1 to 15.0)"; a dash without an estimate, no limits without."""
  if interval is None or interval["estimate"] is None:
    return "–"
  keys = ("estimate", "low", "high")
  numbers = [
    minus(f"{scale * interval[key]:.{digits}f}")
    for key in keys
    if interval[key] is not None
  ]
  if len(numbers) < 3:
    return numbers[0]
  return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"
