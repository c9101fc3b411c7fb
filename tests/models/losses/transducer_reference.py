"""The transducer's loss in NumPy: every path, and plain forward-backward."""

import itertools

import numpy as np


def log_softmax(logits):
  logits = np.asarray(logits, np.float64)
  logits = logits - logits.max(axis=-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def enumerate_paths(logits, labels, blank=0, kept=None):
  """Loss and gradient, from the probability of every path one by one.

  Args:
    logits: [T, U + 1, V].
    labels: U classes.
    blank: class of the blank.
    kept: bool [T, U + 1], the nodes that a path may pass, or None for all.

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
      if kept is not None and not kept[t, u]:
        score = -np.inf
        break
      k = labels[u] if step in places else blank
      score += log_p[t, u, k]
      arcs[t, u, k] += 1
      if step in places:
        u += 1
      else:
        t += 1
    if score == -np.inf:
      continue
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


def simple_scores(encoder, prediction, weights, lm_only=0.0, am_only=0.0):
  """Log probabilities of the additive joint network, [T, U + 1, V]."""
  kernel, prediction_kernel, bias = (np.asarray(w, float) for w in weights)
  of_frames = np.asarray(encoder, float) @ kernel
  of_columns = np.asarray(prediction, float) @ prediction_kernel + bias
  mean = np.exp(log_softmax(of_columns)).mean(axis=0)
  mixed = (1 - lm_only - am_only) * log_softmax(
    of_frames[:, None] + of_columns[None]
  )
  mixed += lm_only * log_softmax(of_columns)[None]
  return mixed + am_only * log_softmax(of_frames + np.log(mean))[:, None]


def arcs_of(log_p, labels, blank=0):
  """Loss and occupancies [T, U + 1] of blanks and labels, path by path.

  The log probabilities need not be those of one softmax.
  """
  frames, columns, _ = log_p.shape
  by_blank, by_label = np.zeros([2, frames, columns])
  total = 0.0
  for places in itertools.combinations(
    range(frames + columns - 2), columns - 1
  ):
    t = u = 0
    score, blanks, emitted = 0.0, [], []
    for step in range(frames + columns - 1):
      score += log_p[t, u, labels[u] if step in places else blank]
      (emitted if step in places else blanks).append((t, u))
      t, u = (t, u + 1) if step in places else (t + 1, u)
    for taken, arcs in ((blanks, by_blank), (emitted, by_label)):
      for node in taken:
        arcs[node] += np.exp(score)
    total += np.exp(score)
  return -np.log(total), by_blank / total, by_label / total


def window_starts(by_blank, by_label, size):
  """First columns of the windows of an utterance, as the rules say them."""
  frames, columns = by_blank.shape
  highest = max(0, columns - size)
  wanted = []
  for t in range(frames):
    kept = [
      by_blank[t, p : p + size].sum() - (by_label[t, p - 1] if p else 0.0)
      for p in range(highest + 1)
    ]
    best = int(np.argmax(kept)) if t < frames - 1 else highest
    wanted.append(min(best, t * (size - 1)))
  lowered = [min(wanted[t:]) for t in range(frames)]
  return [
    max(lowered[s] - (size - 1) * (s - t) for s in range(t, frames))
    for t in range(frames)
  ]
