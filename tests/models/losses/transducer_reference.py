"""The transducer's loss in NumPy: every path, and plain forward-backward."""

import itertools

import numpy as np


def log_softmax(logits):
  logits = np.asarray(logits, np.float64)
  logits = logits - logits.max(axis=-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def enumerate_paths(logits, labels, blank=0):
  """Loss and gradient, from the probability of every path one by one.

  Args:
    logits: [T, U + 1, V].
    labels: U classes.
    blank: class of the blank.

  Returns:
    float64 loss, and its gradient like logits.
  """
  log_p = log_softmax(logits)
  frames, count = len(logits), len(labels)
  total, expected = -np.inf, np.zeros_like(log_p)
  steps = frames + count
  # The last step is a blank: the labels' places are among those before it.
  for places in itertools.combinations(range(steps - 1), count):
    t = u = 0
    score, arcs = 0.0, np.zeros_like(log_p)
    for step in range(steps):
      k = labels[u] if step in places else blank
      score += log_p[t, u, k]
      arcs[t, u, k] += 1
      if step in places:
        u += 1
      else:
        t += 1
    new = np.logaddexp(total, score)
    expected = expected * np.exp(total - new) + arcs * np.exp(score - new)
    total = new
  nodes = expected.sum(axis=-1, keepdims=True)
  return -total, np.exp(log_p) * nodes - expected


def forward_backward(logits, labels, blank=0):
  """As `enumerate_paths`, by the equations 16 to 20 of Graves 2012."""
  log_p = log_softmax(logits)
  frames, columns, _ = log_p.shape
  alpha = np.full([frames, columns], -np.inf)
  beta = np.full([frames, columns], -np.inf)
  expected = np.zeros_like(log_p)
  for t, u in itertools.product(range(frames), range(columns)):
    if t == u == 0:
      alpha[t, u] = 0.0
    if t:
      alpha[t, u] = alpha[t - 1, u] + log_p[t - 1, u, blank]
    if u:
      by_label = alpha[t, u - 1] + log_p[t, u - 1, labels[u - 1]]
      alpha[t, u] = np.logaddexp(alpha[t, u], by_label)
  total = alpha[-1, -1] + log_p[-1, -1, blank]
  for t, u in itertools.product(
    reversed(range(frames)), reversed(range(columns))
  ):
    if t + 1 < frames:
      after = beta[t + 1, u]
    else:
      after = 0.0 if u + 1 == columns else -np.inf
    by_blank = log_p[t, u, blank] + after
    by_label = -np.inf
    if u + 1 < columns:
      by_label = log_p[t, u, labels[u]] + beta[t, u + 1]
      expected[t, u, labels[u]] = np.exp(alpha[t, u] + by_label - total)
    expected[t, u, blank] = np.exp(alpha[t, u] + by_blank - total)
    beta[t, u] = np.logaddexp(by_blank, by_label)
  nodes = expected.sum(axis=-1, keepdims=True)
  return -total, np.exp(log_p) * nodes - expected
