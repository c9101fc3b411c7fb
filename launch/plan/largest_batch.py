"""The search for the largest batch that fits."""

# A TPU's vectors have eight rows: between multiples nothing is won.
_ROWS = 8
# How near the answer must be to the largest batch, of which it is a part.
_TOLERANCE = 0.02
_PROBES = 6
# Where the search ends if everything fits.
_ENOUGH = 2**20


def largest_batch(fits, memory, start, multiple=1):
  """Searches for the largest batch that fits.

  Needs grow with the batch in nearly a straight line, so the next guess is on
  it; where it misses, halves of what is left decide.

  Args:
    fits: function of a batch, called once for each.
    memory: function of a batch that was tried, to its `step.Memory`, whose
      `needed` grows with the batch.
    start: int, the first guess, divisible by `multiple`.
    multiple: int, what a batch must be divisible by.

  Returns:
    int, never less than a batch that was found to fit; 0 when the smallest does
    not. The answer plus `granule` of it does not fit, unless all that was tried
    does, up to a million.
  """

  def rounded(batch):
    batch = int(batch)
    step = _rows(batch, multiple)
    return max(batch // step * step, multiple)

  good, bad = 0, None
  needs = {}
  guess = start
  while True:
    if fits(guess):
      good = max(good, guess)
    else:
      bad = guess if bad is None else min(bad, guess)
    found = memory(guess)
    needs[guess] = found.needed
    step = granule(good, multiple)
    if good >= _ENOUGH or bad is not None and bad - good <= step:
      return good
    if len(needs) > _PROBES and bad is not None:
      guess = rounded((good + bad) / 2)
    else:
      guess = rounded(_line(needs, found.available))
    # Strictly between the bounds, whatever the line says.
    if guess <= good:
      guess = max(rounded(good + step), good + multiple)
    if bad is not None and guess >= bad:
      guess = max(rounded(bad - step), good + multiple)


def granule(batch, multiple=1):
  """How much larger the next batch is that is worth a try.

  Args:
    batch: int.
    multiple: int, what a batch must be divisible by.

  Returns:
    int: below 8 the next that is possible, from 8 on eight, from 400 on some 2%
    of the batch.
  """
  step = _rows(batch, multiple)
  return max(int(_TOLERANCE * batch) // step, 1) * step


def _rows(batch, multiple):
  rows = _ROWS if batch >= _ROWS else 1
  return multiple * -(-rows // multiple)


def _line(needs, limit):
  """Where the needs reach the limit; through zero with one point only."""
  points = sorted(needs.items())
  if len(points) == 1:
    (batch, need), base = points[0], 0
    slope = need / batch
  else:
    (first, low), (batch, need) = points[-2:]
    slope = (need - low) / (batch - first)
    base = need - slope * batch
  return (limit - base) / slope if slope > 0 else batch * 2
