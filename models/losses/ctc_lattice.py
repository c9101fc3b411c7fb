"""The lattice of CTC: likelihood of a label sequence, occupancies.

Blanks and labels take turns: state blank[u] has emitted u labels and now emits
none, state label[u] emits label u (counted from 0). A frame is spent in every
state of a path. A blank is reached from itself and from the label before it; a
label from itself, from the blank before it, and from the label before that
blank unless both are equal. A path ends in label[U - 1] or in blank[U].

Source: Graves et al., "Connectionist Temporal Classification", ICML 2006,
section 4.1, with the probabilities of coming by each arc kept in place of the
backward variables.
"""

import tensorflow as tf

from models.losses import compiling, scanning, targets
from models.losses.log_zero import LOG_ZERO

# Second result of `forward`.
Odds = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@compiling.compiled
def forward(
  blank: tf.Tensor,
  label: tf.Tensor,
  may_skip: tf.Tensor,
  length: tf.Tensor,
  label_length: tf.Tensor,
) -> tuple[tf.Tensor, Odds]:
  """Log likelihoods, by the forward recursion.

  Every frame's states are scaled to a maximum of 1, which keeps the precision
  of float32 for utterances of any length; the scales are the likelihood's
  factors.

  Args:
    blank: float32 [B, T], log probability of the blank, finite.
    label: float32 [B, T, U], of each label of the utterance, finite.
    may_skip: bool [B, U], whether the blank before a label may be left out.
    length: int32 [B], frames, between 0 and T.
    label_length: int32 [B], labels, between 0 and U.

  Returns:
    float32 [B], log P(labels | frames), -inf when there is no path; and what
    `occupancies` takes: log odds float32 [T + 1, B, U + 1] of having come to
    a blank by a blank, [T + 1, B, U] of having come to a label by itself, and
    [B] of having ended in the blank.
  """
  batch, frames, columns = targets.sizes(label)
  # Before the first frame: the first blank, without the frame it would take.
  blanks = tf.where(tf.equal(tf.range(columns + 1), 0), 0.0, LOG_ZERO)
  blanks = tf.broadcast_to(blanks, [batch, columns + 1])
  labels = tf.fill([batch, columns], LOG_ZERO)

  def step(carry, element):
    blanks, labels = carry
    index, of_blank, of_label = element
    before = _right(labels, LOG_ZERO)
    blank_odds = blanks - before
    reached = _add(blanks, before)
    enter = tf.where(may_skip, reached[:, :-1], blanks[:, :-1])
    label_odds = labels - enter
    new_blanks = reached + of_blank[:, None]
    new_labels = _add(labels, enter) + of_label
    scale = tf.reduce_max(
      tf.concat([new_blanks, new_labels], axis=1), axis=1, keepdims=True
    )
    within = (index < length)[:, None]
    blanks = tf.where(within, new_blanks - scale, blanks)
    labels = tf.where(within, new_labels - scale, labels)
    scale = tf.where(within, scale, 0.0)[:, 0]
    return (blanks, labels), (blank_odds, label_odds, scale)

  # One frame more, which counts for nothing: it has the odds of the end.
  blank = tf.pad(blank, [[0, 0], [0, 1]])
  label = tf.pad(label, [[0, 0], [0, 1], [0, 0]])
  elements = (
    tf.range(frames + 1),
    tf.transpose(blank),
    tf.transpose(label, [1, 0, 2]),
  )
  like = blanks, labels, blanks[:, 0]
  (blanks, labels), of_frames = scanning.scan(
    step, (blanks, labels), elements, like
  )
  blank_odds, label_odds, scales = of_frames
  in_blank = _at(blanks, label_length)
  in_label = _at(_right(labels, LOG_ZERO), label_length)
  # Not added up on the way: a sum of sums loses less.
  log_likelihood = tf.reduce_sum(scales, axis=0)
  log_likelihood += _add(in_blank, in_label)
  log_likelihood = tf.where(
    log_likelihood < 0.1 * LOG_ZERO, -float("inf"), log_likelihood
  )
  return log_likelihood, (blank_odds, label_odds, in_blank - in_label)


@compiling.compiled
def occupancies(
  odds: Odds,
  may_skip: tf.Tensor,
  length: tf.Tensor,
  label_length: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Probabilities, given the labels, of each state at each frame.

  They are the derivatives of the log likelihood with respect to the log
  probabilities given to `forward`. The whole probability of 1 flows back from
  the end and is split at every state as it came together: nothing is a
  difference of large logarithms.

  Args:
    odds: second result of `forward`.
    may_skip: bool [B, U], as for `forward`.
    length: int32 [B], as for `forward`.
    label_length: int32 [B], as for `forward`.

  Returns:
    float32 [B, T], of all blanks together, and [B, T, U], of each label; 0
    beyond an utterance's frames and labels. They mean nothing where the
    likelihood is 0.
  """
  blank_odds, label_odds, end_odds = odds
  columns = tf.shape(blank_odds)[2]
  ends = tf.one_hot(label_length, columns)
  last_blanks = ends * tf.sigmoid(end_odds)[:, None]
  last_labels = (ends * tf.sigmoid(-end_odds)[:, None])[:, 1:]

  def step(carry, element):
    # What flows into a frame's states from the frame after it.
    index, blank_odds, label_odds = element
    last = tf.equal(index, length - 1)[:, None]
    blanks = tf.where(last, last_blanks, carry[0])
    labels = tf.where(last, last_labels, carry[1])
    stayed = labels * tf.sigmoid(label_odds)
    entered = labels - stayed
    # A label was entered as the blank before it is: by that blank's two arcs,
    # or by the blank alone.
    by_either = tf.where(may_skip, entered, 0.0)
    split = blanks + _left_padded(by_either)
    from_blank = split * tf.sigmoid(blank_odds)
    from_label = (split * tf.sigmoid(-blank_odds))[:, 1:]
    to_blanks = from_blank + _left_padded(entered - by_either)
    return (to_blanks, stayed + from_label), (tf.reduce_sum(blanks, 1), labels)

  elements = (tf.range(targets.sizes(blank_odds)[0]), blank_odds, label_odds)
  nothing = tf.zeros_like(last_blanks), tf.zeros_like(last_labels)
  like = end_odds, last_labels
  _, (of_blanks, of_labels) = scanning.scan(
    step, nothing, elements, like, reverse=True
  )
  of_labels = tf.transpose(of_labels, [1, 0, 2])
  return tf.transpose(of_blanks)[:, :-1], of_labels[:, :-1]


def _add(x, y):
  """The logarithm of the sum of two probabilities."""
  return tf.maximum(x, y) + tf.math.log1p(tf.exp(-tf.abs(x - y)))


def _right(x, fill):
  """[B, U] to [B, U + 1]: what came before, and fill for the first."""
  return tf.pad(x, [[0, 0], [1, 0]], constant_values=fill)


def _left_padded(x):
  """[B, U] to [B, U + 1]: each label's to the blank before it."""
  return tf.pad(x, [[0, 0], [0, 1]])


def _at(x, index):
  """[B, U + 1] to [B]; not a gather, since a TPU takes one number at a time."""
  chosen = tf.equal(tf.range(tf.shape(x)[1]), index[:, None])
  return tf.reduce_max(tf.where(chosen, x, LOG_ZERO), axis=1)
