"""The pruned transducer loss against every path that its windows keep.

Long, because all of it is compared with the same few batches and references.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

from models.losses import (
  transducer_joint,
  transducer_loss,
  transducer_pruned,
  transducer_simple,
)
from tests.models.losses import transducer_reference as naive
from tests.models.losses.transducer_runs import make_inputs, through_joint

# Five frames and four labels, fewer of each, no labels, one frame.
LABELS = [[1, 2, 3, 1], [2, 2, 3, 0], [4, 0, 0, 0], [1, 3, 0, 0], [3, 1, 2, 0]]
COUNTS, LENGTHS = [4, 3, 0, 1, 2], [5, 3, 5, 1, 4]
SIZES = {"batch": 5, "frames": 5, "columns": 5, "vocab": 5}
SCALES = {"lm_only_scale": 0.25, "am_only_scale": 0.125}


def make_simple(vocab, dim=3, seed=1):
  """Weights of the additive joint network, float32 arrays."""
  rng = np.random.default_rng(seed)
  shapes = [[dim, vocab], [dim + 1, vocab], [vocab]]
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def run(mode, inputs, simple, batch, weights=None, **options):
  """Both losses [B], and the gradients of each one's (weighted) sum."""
  if weights is not None:
    weights = tf.constant(weights, tf.float32)
  arguments = [tf.constant(x) for x in (*batch, *inputs, *simple)]
  return compiled(mode, **options)(weights, *arguments)


@functools.cache
def compiled(mode, **options):
  def losses_and_gradients(weights, labels, counts, lengths, *inputs):
    with tf.GradientTape(persistent=True) as tape:
      tape.watch(inputs)
      losses = transducer_pruned.pruned_transducer_losses(
        labels,
        counts,
        *inputs[:2],
        lengths,
        transducer_joint.JointWeights(*inputs[2:7]),
        transducer_simple.SimpleWeights(*inputs[7:]),
        **options,
      )
      totals = losses
      if weights is not None:
        totals = [tf.where(weights > 0, x * weights, 0.0) for x in losses]
    changes = [
      tape.gradient(total, inputs, unconnected_gradients="zero")
      for total in totals
    ]
    return losses, changes

  if mode == "eager":
    return losses_and_gradients
  return tf.function(
    losses_and_gradients, autograph=False, jit_compile=mode == "xla"
  )


def batch_of(labels=LABELS, counts=COUNTS, lengths=LENGTHS):
  return np.array(labels, np.int32), np.array(counts), np.array(lengths)


def valid(inputs, batch, row):
  """Encoder, prediction and labels of an utterance alone."""
  labels, counts, lengths = batch
  return (
    inputs[0][row][: lengths[row]],
    inputs[1][row][: counts[row] + 1],
    labels[row][: counts[row]],
  )


def simple_loss(inputs, simple, batch, row, blank=0):
  encoder, prediction, labels = valid(inputs, batch, row)
  scores = naive.simple_scores(encoder, prediction, simple, *SCALES.values())
  return naive.arcs_of(scores, labels, blank)


@pytest.mark.parametrize(
  ("mode", "window", "blank"),
  [("eager", 2, 0), ("graph", 3, 4), ("xla", 2, 4), ("xla", 4, 0)],
)
def test_equals_the_paths_that_are_kept(mode, window, blank):
  inputs, simple = make_inputs(**SIZES), make_simple(SIZES["vocab"])
  batch = batch_of(np.array(LABELS) if blank == 0 else 4 - np.array(LABELS))
  (got_simple, got), (_, changes) = run(
    mode, inputs, simple, batch, window=window, blank_index=blank, **SCALES
  )
  assert got.dtype == got_simple.dtype == tf.float32
  logits = transducer_joint.joint_logits(
    *inputs[:2], transducer_joint.JointWeights(*inputs[2:])
  ).numpy()
  gradients, pruned = np.zeros(logits.shape), []
  for row in range(len(LABELS)):
    encoder, prediction, labels = valid(inputs, batch, row)
    loss, *arcs = simple_loss(inputs, simple, batch, row, blank)
    np.testing.assert_allclose(got_simple[row], loss, rtol=1e-5)
    kept = np.zeros([len(encoder), len(prediction)], bool)
    for t, start in enumerate(naive.window_starts(*arcs, window)):
      kept[t, start : start + window] = True
    inside = np.s_[row, : len(encoder), : len(prediction)]
    loss, gradients[inside] = naive.enumerate_paths(
      logits[inside].astype(float), labels, blank, kept
    )
    pruned.append(loss)
  np.testing.assert_allclose(got, pruned, rtol=1e-5)
  # Windows of two, and of three, leave paths out, but not all of them.
  assert np.all(np.isfinite(pruned))
  full = transducer_loss.fused_transducer_losses(
    *batch[:2], *inputs[:2], batch[2], _joint(inputs), blank_index=blank
  )
  assert window == 4 or np.any(pruned > full + 0.1)
  for change, want in zip(changes, through_joint(inputs, gradients)):
    np.testing.assert_allclose(change, want, atol=2e-5)


def _joint(inputs):
  return transducer_joint.JointWeights(*map(tf.constant, inputs[2:]))


@pytest.mark.parametrize("slice_frames", [None, 2])
def test_gradient_of_the_simple_loss(slice_frames):
  """Against differences of the naive loss, in float64."""
  inputs, simple = make_inputs(**SIZES), make_simple(SIZES["vocab"])
  batch = batch_of()
  _, (changes, _) = run(
    "graph", inputs, simple, batch, slice_frames=slice_frames, **SCALES
  )
  changes = [*changes[:2], *changes[7:]]
  given = [x.astype(float) for x in (*inputs[:2], *simple)]
  rng = np.random.default_rng(2)
  for i, change in enumerate(changes):
    direction = rng.normal(size=change.shape)
    sums = []
    for step in (-1e-5, 1e-5):
      moved = list(given)
      moved[i] = given[i] + step * direction
      losses = [
        simple_loss(moved[:2], moved[2:], batch, row)[0]
        for row in range(len(LABELS))
      ]
      sums.append(sum(losses))
    slope = (sums[1] - sums[0]) / 2e-5
    np.testing.assert_allclose(
      np.vdot(change, direction), slope, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("window", [5, 50])
def test_a_window_of_all_columns_gives_the_full_loss(dtype, window):
  inputs, simple = make_inputs(**SIZES), make_simple(SIZES["vocab"])
  inputs, simple = ([tf.cast(x, dtype) for x in xs] for xs in (inputs, simple))
  batch = batch_of()
  (_, got), (_, changes) = run("xla", inputs, simple, batch, window=window)
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    want = transducer_loss.fused_transducer_losses(
      *batch[:2], *inputs[:2], batch[2], _joint(inputs)
    )
  np.testing.assert_allclose(got, want, rtol=1e-6)
  wanted = tape.gradient(want, inputs)
  for change, expected in zip(changes, wanted):
    assert change.dtype == dtype
    np.testing.assert_allclose(
      tf.cast(change, tf.float32),
      tf.cast(expected, tf.float32),
      rtol=2**-8 if dtype == "bfloat16" else 1e-6,
      atol=2e-6,
    )


def test_a_real_size_and_unknown_sizes():
  """Never below the full loss; near it where windows keep what matters."""
  batch, frames, columns, vocab = 4, 80, 21, 32
  inputs = make_inputs(batch, frames, columns, vocab, dim=8, hidden=16)
  simple = make_simple(vocab, dim=8)
  rng = np.random.default_rng(3)
  labels = rng.integers(1, vocab, [batch, columns - 1]).astype(np.int32)
  given = batch_of(labels, [20, 13, 0, 1], [80, 31, 80, 1])
  encoder, *others = inputs
  full = transducer_loss.fused_transducer_losses(
    *given[:2], *inputs[:2], given[2], _joint(inputs)
  )
  # Padded, and of sizes that are not known when it is traced.
  any_size = compiled("graph", window=4).get_concrete_function(
    None,
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None], tf.int64),
    tf.TensorSpec([None], tf.int64),
    tf.TensorSpec([None, None, 8]),
    tf.TensorSpec([None, None, 9]),
    *(tf.TensorSpec(x.shape) for x in (*others[1:], *simple)),
  )
  (simple_want, got), wanted = run("xla", inputs, simple, given, window=4)
  assert np.all(got >= full - 1e-3) and np.all(got[2:] <= full[2:] + 1e-3)
  (simple_again, again), changes = any_size(
    *map(tf.constant, (*given, encoder, *others, *simple))
  )
  np.testing.assert_allclose(again, got, rtol=1e-5)
  np.testing.assert_allclose(simple_again, simple_want, rtol=1e-5)
  for ours, theirs in zip(tf.nest.flatten(changes), tf.nest.flatten(wanted)):
    scale = np.abs(theirs).max() + 1e-6
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * scale)


def test_padding_changes_nothing():
  """Not even NaN; the gradient there is exactly 0."""
  inputs, simple = make_inputs(**SIZES), make_simple(SIZES["vocab"])
  batch = batch_of()
  want, wanted = run("graph", inputs, simple, batch, window=3, **SCALES)
  grown = [np.pad(x, [[0, 0], [0, 2], [0, 0]]) for x in inputs[:2]]
  outside = [
    np.arange(x.shape[1]) >= np.array(counts)[:, None]
    for x, counts in zip(grown, (LENGTHS, np.array(COUNTS) + 1))
  ]
  for x, mask in zip(grown, outside):
    x[mask] = np.nan
  labels = np.pad(LABELS, [[0, 0], [0, 2]], constant_values=99)
  got, changes = run(
    "graph",
    [*grown, *inputs[2:]],
    simple,
    batch_of(labels),
    window=3,
    **SCALES,
  )
  for ours, theirs in zip(got, want):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
  for ours, theirs in zip(changes, wanted):
    for change, mask in zip(ours[:2], outside):
      assert mask.any() and not np.any(change.numpy()[mask])
    for change, old in zip(ours, theirs):
      inside = tuple(slice(size) for size in old.shape)
      np.testing.assert_allclose(change[inside], old, atol=2e-6)


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_hopeless_utterances(mode):
  """No frames; more labels than windows reach; NaN; no harm to others."""
  inputs, simple = make_inputs(5, 3, 5, 5), make_simple(5)
  inputs[0][3, 1, 0] = np.nan
  batch = batch_of([[1, 2, 3, 4]] * 5, [2, 4, 0, 2, 2], [0, 1, 0, 3, 3])
  options = {"window": 3, **SCALES}
  (simple_losses, got), _ = run(mode, inputs, simple, batch, **options)
  np.testing.assert_array_equal(np.isinf(got), [1, 1, 0, 0, 0])
  np.testing.assert_array_equal(np.isinf(simple_losses), [1, 0, 0, 0, 0])
  for losses in (got, simple_losses):
    assert losses[2] == 0 and np.isfinite(losses[4])
    np.testing.assert_array_equal(np.isnan(losses), [0, 0, 0, 1, 0])
  inputs[0][3, 1, 0] = 0.0
  _, changes = run(
    mode, inputs, simple, batch, weights=[1, 1, 1, 0, 2], **options
  )
  for of_losses, dead in zip(changes, ([0, 2, 3], [0, 1, 2, 3])):
    assert not np.any(of_losses[0].numpy()[dead])
    assert np.any(of_losses[0][4])
    assert all(np.all(np.isfinite(change)) for change in of_losses)


def test_no_frames_or_labels_at_all():
  inputs, simple = make_inputs(2, 0, 1, 4), make_simple(4)
  batch = batch_of(np.zeros([2, 0]), [0, 0], [0, 0])
  losses, changes = run("graph", inputs, simple, batch)
  assert not np.any(losses) and not any(map(np.any, tf.nest.flatten(changes)))


def test_classes_far_apart_stay_finite():
  """Encoder and prediction that want different classes, 400 nats apart."""
  inputs, simple = make_inputs(1, 3, 3, 4, dim=3), make_simple(4)
  inputs[0][...], inputs[1][...] = 1.0, 1.0
  simple = [np.zeros_like(x) for x in simple]
  simple[0][:, 1], simple[1][:, 2] = 400 / 3, 100.0
  batch = batch_of([[1, 2]], [2], [3])
  losses, changes = run("xla", inputs, simple, batch, window=2, **SCALES)
  assert all(np.all(np.isfinite(x)) for x in tf.nest.flatten([losses, changes]))
  assert losses[0][0] > 100


@pytest.mark.parametrize(
  ("labels", "counts", "lengths"),
  [([[1, 2]], [2], [4]), ([[1, 2]], [3], [3]), ([[1, 4]], [2], [3])],
)
def test_wrong_values(labels, counts, lengths):
  inputs, simple = make_inputs(1, 3, 3, 4), make_simple(4)
  batch = batch_of(labels, counts, lengths)
  with pytest.raises(ValueError, match=r"must .* Received: "):
    run("eager", inputs, simple, batch)
  for mode in ("graph", "xla"):
    losses, changes = run(mode, inputs, simple, batch)
    assert np.all(np.isnan(losses))
    assert all(np.any(np.isnan(change[0])) for change in changes)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"window": 1}, "window must be at least 2"),
    ({"lm_only_scale": -0.1}, "lm_only_scale must be 0 to 1"),
    ({"am_only_scale": np.nan}, "am_only_scale must be 0 to 1"),
    ({"am_only_scale": 0.6, "lm_only_scale": 0.5}, "must be 1 together"),
    ({"slice_frames": 0}, "slice_frames must be at least 1"),
  ],
)
def test_wrong_options(changes, message):
  inputs, simple = make_inputs(1, 3, 3, 4), make_simple(4)
  batch = batch_of([[1, 2]], [2], [3])
  with pytest.raises(ValueError, match=f"{message}.*Received: "):
    run("eager", inputs, simple, batch, **changes)
  with pytest.raises(ValueError, match=r"simple.bias must have.*Received: "):
    run("eager", inputs, [*simple[:2], np.zeros(7, np.float32)], batch)


def test_inside_replicas_and_loops(make_strategy):
  """As a training step uses it: variables, replicas, micro-batches."""
  inputs, simple = make_inputs(**SIZES), make_simple(SIZES["vocab"])
  _, wanted = run("eager", inputs, simple, batch_of(), window=3)
  strategy = make_strategy(2)
  with strategy.scope():
    joint = transducer_joint.JointWeights(*map(tf.Variable, inputs[2:]))
    weights = transducer_simple.SimpleWeights(*map(tf.Variable, simple))
  labels, counts, lengths = batch_of()
  data = [tf.constant(x) for x in (labels, counts, *inputs[:2], lengths)]

  def of_replica():
    def body(index, *sums):
      part = [x[index : index + 1] for x in data]
      with tf.GradientTape() as tape:
        losses = transducer_pruned.pruned_transducer_losses(
          *part, joint, weights, window=3
        )
        total = losses.pruned + losses.simple
      changes = tape.gradient(total, [*joint, *weights])
      return index + 1, *(a + b for a, b in zip(sums, changes))

    def more(index, *_):
      return index < SIZES["batch"]

    zeros = [tf.zeros(x.shape) for x in (*joint, *weights)]
    return tf.while_loop(more, body, (0, *zeros))[1:]

  @tf.function(autograph=False)
  def step():
    return strategy.run(of_replica)

  sums = [a + b for a, b in zip(wanted[0][2:], wanted[1][2:])]
  for value, want in zip(step(), sums, strict=True):
    for replica in strategy.experimental_local_results(value):
      np.testing.assert_allclose(replica, want, atol=2e-5)


def test_gradient_of_the_gradient_is_refused():
  inputs, simple = make_inputs(1, 3, 3, 4), make_simple(4)
  inputs, simple = ([tf.constant(x) for x in xs] for xs in (inputs, simple))
  batch = batch_of([[1, 2]], [2], [3])
  with tf.GradientTape() as tape:
    tape.watch(simple)
    _, (changes, _) = run("eager", inputs, simple, batch)
  with pytest.raises(NotImplementedError, match="differentiated again"):
    tape.gradient(changes[7], simple)
