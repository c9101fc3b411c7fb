"""A lower bound on epsilon from one training run, by guessing fair coins.

For each of m canaries a fair coin decided whether it is inserted
(`coins.flip_coins`). Where scores are low one guesses "inserted", where they
are high "held out", and between them nothing. If the training is (epsilon,
delta)-private, a guess is right with chance e^epsilon / (1 + e^epsilon) at
most, so many right guesses refute small epsilons (Steinke, Nasr and Jagielski
2023, "Privacy Auditing with One (1) Training Run", arXiv 2305.08846). Unlike
`membership.epsilon_lower_bound` this takes no independence of the scores for
granted: the coins alone are random.

A mechanism of which more is known can be audited more sharply. The second form
takes the trade-off curve of the Gaussian mechanism, as of DP-SGD with one step
(Mahloujifar, Melis and Chaudhuri 2024, "Auditing f-Differential Privacy in One
Run", arXiv 2410.22235).

A canary inserted r times stands for a group of r records: the epsilon is that
of the group, and r times that of one record at most.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from numpy.typing import ArrayLike

from tf_pcc.audit import bootstrap, checks

if TYPE_CHECKING:
  from tf_pcc.audit.canaries import CanaryPlan

FORMS = ("dp", "gaussian")
DELTA = 1e-5
# Seven right guesses of seven have chance 0.8% by luck alone: fewer prove
# nothing once several numbers of guesses are tried.
_FEWEST_GUESSES = 7
# Both forms answer to this many nats.
_PRECISION = 1e-9


class OneRunBound(NamedTuple):
  """A lower bound on epsilon, and the guesses that prove most.

  Attributes:
    epsilon: The bound, >= 0; 0 means that nothing is proved.
    canaries: Canaries whose coin was flipped.
    guesses: Guesses made; the other canaries' sides were not guessed.
    correct: How many of them are right.
  """

  epsilon: float
  canaries: int
  guesses: int
  correct: int


def one_run_epsilon(
  scores: ArrayLike,
  included: ArrayLike,
  delta: float = DELTA,
  confidence: float = bootstrap.CONFIDENCE,
  form: str = "dp",
  seed: int = 0,
) -> OneRunBound:
  """The largest epsilon that the guesses of one run refute.

  How many guesses to make is chosen from a list that is fixed before looking:
  all m, a half, a quarter ... of them, on both sides, and as many on the side
  of "inserted" alone. Bonferroni's correction pays for the choice.

  Args:
    scores: Array [m], one a canary; lower means more memorized.
    included: Array [m] of bool: whether its coin said that it is inserted.
    delta: The delta of the guarantee tested, in [0, 1); default 1e-5.
    confidence: Confidence of the bound, default 0.95.
    form: "dp" (default): nothing but (epsilon, delta) is taken for granted;
      "gaussian": the trade-off curve is that of a Gaussian mechanism, and
      epsilon is its at delta, which then must be above 0.
    seed: Integer: ties are broken at random.

  Returns:
    OneRunBound.

  Raises:
    ValueError: If scores are NaN, numbers are unequal or below 20, or delta,
      confidence or form is out of range.

  Example:

  >>> scores = [0.1] * 20 + [0.9] * 20
  >>> found = one_run_epsilon(scores, [True] * 20 + [False] * 20)
  >>> found.correct, found.guesses, round(found.epsilon, 2)
  (40, 40, 2.1)
  """
  scores = checks.as_scores("scores", scores, checks.SMALLEST_HOLDOUT)
  included = np.asarray(included)
  if included.shape != scores.shape or included.dtype != bool:
    raise ValueError(
      "included must hold one bool a score. Received: included of shape "
      f"{included.shape} and dtype {included.dtype} for {scores.size} scores"
    )
  confidence = checks.as_fraction("confidence", confidence)
  # Ties in the order given would tell the sides: inserted ones come first.
  order = np.random.default_rng(seed).permutation(scores.size)
  order = order[np.argsort(scores[order], kind="stable")]
  sides = included[order]
  tried = _numbers_of_guesses(scores.size)
  alpha = (1 - confidence) / len(tried)
  best = OneRunBound(0.0, scores.size, 0, 0)
  for low, high in tried:
    right = int(sides[:low].sum() + (~sides[scores.size - high :]).sum())
    found = epsilon_of_guesses(
      scores.size, low + high, right, delta, 1 - alpha, form
    )
    if found > best.epsilon or not best.guesses:
      best = OneRunBound(found, scores.size, low + high, right)
  return best


def _numbers_of_guesses(canaries):
  """Pairs (guesses of "inserted", guesses of "held out")."""
  sizes = []
  size = canaries
  while size >= _FEWEST_GUESSES:
    sizes.append(size)
    size //= 2
  both = [(size // 2, size - size // 2) for size in sizes]
  return both + [(size, 0) for size in sizes[1:]]


def epsilon_of_guesses(
  canaries: int,
  guesses: int,
  correct: int,
  delta: float = DELTA,
  confidence: float = bootstrap.CONFIDENCE,
  form: str = "dp",
) -> float:
  """The largest epsilon that so many right guesses refute.

  Args:
    canaries: Canaries whose coin was flipped, m.
    guesses: Guesses made, at most m; their number was fixed before looking.
    correct: Right ones among them.
    delta: As in `one_run_epsilon`, and so are the others.
    confidence: Confidence of the bound, default 0.95.
    form: "dp" or "gaussian".

  Returns:
    A float >= 0, in nats.

  Raises:
    ValueError: If the numbers do not go together, or as `one_run_epsilon`.
  """
  if not 0 <= correct <= guesses <= canaries or guesses < 1:
    raise ValueError(
      "correct must be at most guesses, and guesses at least 1 and at most "
      f"canaries. Received: correct={correct}, guesses={guesses}, "
      f"canaries={canaries}"
    )
  if form not in FORMS:
    raise ValueError(f"form must be one of {FORMS}. Received: form={form!r}")
  delta = checks.as_fraction("delta", delta, closed=form == "dp")
  alpha = 1 - checks.as_fraction("confidence", confidence)

  def refuted(epsilon):
    """Above 0 where the guesses refute epsilon."""
    if form == "dp":
      return alpha - p_value(canaries, guesses, correct, epsilon, delta)
    return _gaussian_excess(canaries, guesses, correct, epsilon, delta, alpha)

  if refuted(0.0) <= 0:
    return 0.0
  low, high = 0.0, 1.0
  while refuted(high) > 0:
    low, high = high, 2 * high
  return _root(refuted, low, high, _PRECISION)


def p_value(
  canaries: int, guesses: int, correct: int, epsilon: float, delta: float
) -> float:
  """Chance of so many right guesses under (epsilon, delta)-privacy, at most.

  Theorem 5.2 of Steinke et al.: with W binomial of `guesses` and chance
  e^epsilon / (1 + e^epsilon), it is P(W >= v) + 2 m delta max_i P(v - i <= W <
  v) / i over i = 1 ... v, v being `correct`.

  Args:
    canaries: Canaries whose coin was flipped, m.
    guesses: Guesses made.
    correct: Right ones among them.
    epsilon: The guarantee's epsilon.
    delta: The guarantee's delta.

  Returns:
    A float in [0, 1].
  """
  chance = scipy.special.expit(epsilon)
  least = np.arange(correct, -1, -1)
  tails = scipy.stats.binom.sf(least - 1, guesses, chance)
  if not delta or not correct:
    return float(tails[0])
  slack = np.max((tails[1:] - tails[0]) / np.arange(1, correct + 1))
  return float(min(1.0, tails[0] + 2 * canaries * delta * slack))


def _gaussian_excess(canaries, guesses, correct, epsilon, delta, alpha):
  """Above 0 where a Gaussian mechanism cannot have so many right guesses.

  Algorithm 3 of Mahloujifar et al. for an alphabet of two. Going down from
  `correct`, `right` and `wrong` bound the mean numbers, over m, of right and
  wrong guesses in the event of at least as many right ones.
  """
  mu = gaussian_mu(epsilon, delta)
  right = alpha * correct / canaries
  wrong = alpha * (guesses - correct) / canaries
  for i in range(correct - 1, -1, -1):
    at_least = scipy.special.ndtr(scipy.special.ndtri(right) - mu)
    if at_least <= wrong:
      break
    right = min(1.0, right + i / (guesses - i) * (at_least - wrong))
    wrong = at_least
  return right + wrong - guesses / canaries


def gaussian_mu(epsilon: float, delta: float) -> float:
  """Sensitivity over noise of the Gaussian mechanism that is just private.

  The mu of mu-Gaussian differential privacy (Dong, Roth and Su 2019,
  arXiv 1905.02383, corollary 2.13): delta = Phi(mu/2 - epsilon/mu) - e^epsilon
  Phi(-mu/2 - epsilon/mu).

  Args:
    epsilon: Of the guarantee, >= 0.
    delta: Of the guarantee, in (0, 1).

  Returns:
    A float > 0.

  Example:

  >>> round(gaussian_mu(1.0, 1e-5), 4)
  0.2681
  """

  def excess(mu):
    first = scipy.special.ndtr(mu / 2 - epsilon / mu)
    second = scipy.special.log_ndtr(-mu / 2 - epsilon / mu)
    return first - np.exp(epsilon + second) - delta

  high = 1.0
  while excess(high) < 0:
    high *= 2
  return _root(excess, 1e-12, high, 1e-14)


def _root(function, low, high, precision):
  found = scipy.optimize.root_scalar(
    function, bracket=(low, high), xtol=precision
  )
  return float(found.root)


def one_run_rows(
  plan: "CanaryPlan",
  scores: ArrayLike,
  holdout_scores: ArrayLike,
  confidence: float = bootstrap.CONFIDENCE,
  delta: float = DELTA,
) -> list[dict[str, Any]] | None:
  """`one_run_epsilon` for each number that coins decided over, and for all.

  Args:
    plan: CanaryPlan.
    scores: Array [n], of `plan.canaries`.
    holdout_scores: Array [N], of `plan.holdout`.
    confidence: Confidence of each bound, default 0.95.
    delta: Of the guarantee tested, default 1e-5.

  Returns:
    A list of dicts of JSON values: repetitions (a count or "all"), canaries,
    delta, and for "dp" and "gaussian" {epsilon, guesses, correct}. Counts with
    fewer than 20 coins have no row. None where no coins were flipped, or fewer
    than 20.
  """
  coins = np.array([canary.coin or 0 for canary in plan.all])
  included = np.arange(coins.size) < len(plan.canaries)
  everyone = np.concatenate([np.asarray(scores), np.asarray(holdout_scores)])
  groups = [(int(c), coins == c) for c in np.unique(coins[coins > 0])]
  rows = []
  for name, members in [*groups, ("all", coins > 0)]:
    if members.sum() < checks.SMALLEST_HOLDOUT:
      continue
    row = {"repetitions": name, "canaries": int(members.sum()), "delta": delta}
    for form in FORMS:
      found = one_run_epsilon(
        everyone[members], included[members], delta, confidence, form
      )
      row[form] = {
        "epsilon": found.epsilon,
        "guesses": found.guesses,
        "correct": found.correct,
      }
    rows.append(row)
  return rows or None
