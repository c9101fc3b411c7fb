"""From a transducer's encoder output to token ids: greedy and beam search.

Both run in the graph, for a whole batch, with static shapes, and compile with
XLA. `prediction` is a network of `models.layers.prediction`, `joint` a
`joint.Joint`.
"""

import tensorflow as tf

from models.layers.joint import Joint
from models.layers.prediction import PredictionNetwork
from models.losses.log_zero import LOG_ZERO


def greedy(
  encoded: tf.Tensor,
  lengths: tf.Tensor,
  prediction: PredictionNetwork,
  joint: Joint,
  max_symbols: int = 3,
) -> tuple[tf.Tensor, tf.Tensor]:
  """The likeliest class at every node, a blank leading to the next frame.

  Every utterance has its own place in time, so a batch takes as many steps as
  its longest path, not the sum over frames of the longest stay.

  Args:
    encoded: float [B, T, D].
    lengths: int32 [B], valid frames.
    prediction: prediction network.
    joint: joint network.
    max_symbols: int, labels of a frame after which it is left without a blank.

  Returns:
    int32 [B, T * max_symbols] ids, padded with the blank, and int32 [B], how
    many are valid.

  References:
    Graves, arXiv 1211.3711, section 2.5, with a beam of one.
  """
  return greedy_scored(encoded, lengths, prediction, joint, max_symbols)[:2]


def greedy_scored(
  encoded: tf.Tensor,
  lengths: tf.Tensor,
  prediction: PredictionNetwork,
  joint: Joint,
  max_symbols: int = 3,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """As `greedy`, and float32 [B]: the log-probability of each path.

  The path's, natural, blanks counted; 0 without frames. Leaving a frame because
  it has its `max_symbols` costs nothing.

  Args:
    encoded: float [B, T, D], the encoder's output.
    lengths: int32 [B], valid frames.
    prediction: prediction network.
    joint: joint network.
    max_symbols: labels of a frame after which it is left without a blank.

  Returns:
    int32 [B, T * max_symbols] ids, int32 [B] how many are valid, and float32
    [B] log-probabilities.
  """
  frames = joint.of_encoder(encoded)
  batch, time = _sizes(frames)
  width = time * max_symbols
  lengths = tf.cast(lengths, tf.int32)
  zeros = tf.zeros_like(lengths)
  output, state = prediction.start(batch)

  def step(t, in_frame, ids, count, score, output, state):
    active = t < lengths
    frame = tf.gather(frames, tf.minimum(t, time - 1), axis=1, batch_dims=1)
    arcs = tf.nn.log_softmax(tf.cast(joint(frame, output), tf.float32))
    label = tf.argmax(arcs, axis=-1, output_type=tf.int32)
    says = active & (label != 0)
    ids = tf.where(
      says[:, None] & tf.equal(tf.range(width), count[:, None]),
      label[:, None],
      ids,
    )
    in_frame = tf.where(says, in_frame + 1, 0)
    leaves = active & (~says | (in_frame >= max_symbols))
    new_output, new_state = prediction.step(label, state)
    output, *state = (
      tf.where(says[:, None], new, old)
      for new, old in zip((new_output, *new_state), (output, *state))
    )
    return (
      t + tf.cast(leaves, tf.int32),
      tf.where(leaves, 0, in_frame),
      ids,
      count + tf.cast(says, tf.int32),
      score + tf.where(active, tf.reduce_max(arcs, axis=-1), 0.0),
      output,
      tuple(state),
    )

  def more(t, *_):
    return tf.reduce_any(t < lengths)

  _, _, ids, count, score, _, _ = tf.while_loop(
    more,
    step,
    (
      zeros,
      zeros,
      tf.zeros([batch, width], tf.int32),
      zeros,
      tf.zeros_like(zeros, tf.float32),
      output,
      state,
    ),
    # A frame's last label leaves it, so its labels or one blank are its steps.
    maximum_iterations=time * max_symbols,
  )
  return ids, count, score


def beam_search(
  encoded: tf.Tensor,
  lengths: tf.Tensor,
  prediction: PredictionNetwork,
  joint: Joint,
  beam_width: int = 8,
  n_best: int = 1,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """The n best label sequences of at most one label a frame, with scores.

  Time-synchronous: in every frame each sequence of the beam is continued by the
  blank or by one label. Ways to the same sequence, which differ in the frames
  of the labels, are one entry whose probability is the sum over them. So a
  score is log P(labels | audio) over the alignments of at most one label a
  frame that stayed in the beam.

  Args:
    encoded: float [B, T, D].
    lengths: int32 [B], valid frames.
    prediction: prediction network.
    joint: joint network.
    beam_width: int, sequences kept in every frame.
    n_best: int, at most `beam_width`.

  Returns:
    int32 [B, n_best, T] ids padded with the blank, int32 [B, n_best] lengths,
    and float32 [B, n_best] log-probabilities, best first. Where there are fewer
    sequences than `n_best`, as without frames, the others are empty with a
    score of -inf.

  Raises:
    ValueError: If not 1 <= n_best <= beam_width.

  References:
    Kim, Lee and Watanabe, "Accelerating RNN Transducer Inference via One-Step
    Constrained Beam Search", arXiv 2002.03577; known as modified beam search in
    k2-fsa/icefall.
  """
  if not 1 <= n_best <= beam_width:
    raise ValueError(
      f"n_best must be in 1..beam_width ({beam_width}). "
      f"Received: n_best={n_best}"
    )
  frames = joint.of_encoder(encoded)
  batch, time = _sizes(frames)
  vocab = joint.vocab_size
  lengths = tf.cast(lengths, tf.int32)
  output, state = prediction.start(batch * beam_width)
  scores = tf.where(tf.equal(tf.range(beam_width), 0), 0.0, LOG_ZERO)

  def in_beams(x):
    return tf.reshape(x, [batch, beam_width, *x.shape[1:]])

  def flat(x):
    return tf.reshape(x, [batch * beam_width, *x.shape[2:]])

  def step(t, ids, counts, scores, output, state):
    arcs = tf.nn.log_softmax(joint(frames[:, t, None], output))
    totals = _merge(scores[..., None] + arcs, ids, counts, scores)
    best, chosen = tf.math.top_k(
      tf.reshape(totals, [batch, beam_width * vocab]), beam_width
    )
    parent, label = chosen // vocab, chosen % vocab
    says = label != 0
    old_ids, old_counts, output, *state = (
      tf.gather(x, parent, axis=1, batch_dims=1)
      for x in (ids, counts, output, *state)
    )
    new_ids = tf.where(
      says[..., None] & tf.equal(tf.range(time), old_counts[..., None]),
      label[..., None],
      old_ids,
    )
    new_output, new_state = prediction.step(
      flat(label), tuple(flat(x) for x in state)
    )
    output, *state = (
      tf.where(says[..., None], in_beams(new), old)
      for new, old in zip((new_output, *new_state), (output, *state))
    )
    # An utterance that is over keeps its beam; its state is not asked again.
    active = (t < lengths)[:, None]
    return (
      t + 1,
      tf.where(active[..., None], new_ids, ids),
      tf.where(active, old_counts + tf.cast(says, tf.int32), counts),
      tf.where(active, tf.maximum(best, LOG_ZERO), scores),
      output,
      tuple(state),
    )

  def more(t, *_):
    return t < tf.reduce_max(lengths)

  _, ids, counts, scores, _, _ = tf.while_loop(
    more,
    step,
    (
      tf.constant(0),
      tf.zeros([batch, beam_width, time], tf.int32),
      tf.zeros([batch, beam_width], tf.int32),
      tf.broadcast_to(scores, [batch, beam_width]),
      in_beams(output),
      tuple(in_beams(x) for x in state),
    ),
    maximum_iterations=time,
  )
  exists = scores > 0.1 * LOG_ZERO
  return (
    tf.where(exists[..., None], ids, 0)[:, :n_best],
    tf.where(exists, counts, 0)[:, :n_best],
    tf.where(exists, scores, -float("inf"))[:, :n_best],
  )


def _merge(totals, ids, counts, scores):
  """Adds the ways by a label to a sequence of the beam to its way by a blank.

  Args:
    totals: float32 [B, K, V], scores of the continuations.
    ids: int32 [B, K, T], the sequences, all different where they exist.
    counts: int32 [B, K].
    scores: float32 [B, K].

  Returns:
    float32 [B, K, V], in which no sequence occurs twice.
  """
  time, vocab = tf.shape(ids)[2], tf.shape(totals)[2]
  is_last = tf.equal(tf.range(time), counts[:, :, None] - 1)
  last = tf.reduce_sum(tf.where(is_last, ids, 0), axis=-1)
  before = tf.where(is_last, 0, ids)
  # Entry [b, k, j]: sequence k is sequence j and one label.
  follows = tf.reduce_all(
    tf.equal(before[:, :, None], ids[:, None]), axis=-1
  ) & tf.equal(counts[:, :, None], counts[:, None] + 1)
  exists = scores > 0.1 * LOG_ZERO
  follows &= exists[:, :, None] & exists[:, None]
  # At most one j for every k: the score of its way, and where that way is.
  by_label = tf.gather(totals, last, axis=2, batch_dims=1)
  by_label = tf.reduce_max(
    tf.where(follows, tf.transpose(by_label, [0, 2, 1]), LOG_ZERO), axis=2
  )
  by_blank = totals[:, :, 0]
  high, low = tf.maximum(by_blank, by_label), tf.minimum(by_blank, by_label)
  blank = high + tf.math.log1p(tf.exp(low - high))
  merged = tf.reduce_any(
    follows[:, :, :, None]
    & tf.equal(last[:, :, None], tf.range(vocab))[:, :, None],
    axis=1,
  )
  totals = tf.where(merged, LOG_ZERO, totals)
  return tf.concat([blank[:, :, None], totals[:, :, 1:]], axis=-1)


def _sizes(frames):
  """Batch and time, as numbers where they are known."""
  return [
    dynamic if static is None else static
    for static, dynamic in zip(
      frames.shape[:2], tf.unstack(tf.shape(frames)[:2])
    )
  ]
