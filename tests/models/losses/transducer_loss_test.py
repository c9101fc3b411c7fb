"""The transducer's loss against all paths, forward-backward and differences."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from models.losses import transducer_joint, transducer_loss
from tests.models.losses import transducer_reference

FORMS = ["plain", "fused"]
MODES = ["eager", "graph", "xla"]
# Utterances of four frames and three labels, shorter ones, none, one frame.
LABELS = [[1, 2, 3], [2, 2, 0], [4, 0, 0], [1, 3, 1], [3, 1, 0]]
COUNTS, LENGTHS = [3, 2, 0, 3, 1], [4, 3, 4, 1, 1]
SIZES = {"batch": 5, "frames": 4, "columns": 4, "vocab": 5}


def make_inputs(batch, frames, columns, vocab, dim=3, hidden=6, seed=0):
  """Encoder, prediction and joint weights, float32 arrays."""
  rng = np.random.default_rng(seed)
  shapes = [
    [batch, frames, dim],
    [batch, columns, dim + 1],
    [dim, hidden],
    [dim + 1, hidden],
    [hidden],
    [hidden, vocab],
    [vocab],
  ]
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def make_logits(inputs):
  encoder, prediction, *weights = inputs
  return transducer_joint.joint_logits(
    encoder, prediction, transducer_joint.JointWeights(*weights)
  )


def run(form, mode, inputs, labels, counts, lengths, weights=None, **options):
  """Losses [B], and gradients of their (weighted) sum.

  The inputs are [logits] for the plain form, those of `make_inputs` for the
  fused one.
  """
  labels, counts, lengths = map(tf.constant, (labels, counts, lengths))
  if weights is not None:
    weights = tf.constant(weights, tf.float32)
  losses, gradients = compiled(form, mode, **options)(
    labels, counts, lengths, weights, *map(tf.constant, inputs)
  )
  assert losses.dtype == tf.float32
  return losses.numpy(), gradients


@functools.cache
def compiled(form, mode, **options):
  """What `run` calls, traced and compiled once for each shape."""

  def losses_and_gradients(labels, counts, lengths, weight, *inputs):
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      if form == "plain":
        losses = transducer_loss.transducer_losses(
          labels, counts, *inputs, lengths, **options
        )
      else:
        encoder, prediction, *joint = inputs
        losses = transducer_loss.fused_transducer_losses(
          labels,
          counts,
          encoder,
          prediction,
          lengths,
          transducer_joint.JointWeights(*joint),
          **options,
        )
      total = losses
      if weight is not None:
        total = tf.where(weight > 0, losses * weight, 0.0)
    return losses, tape.gradient(total, inputs)

  if mode == "eager":
    return losses_and_gradients
  return tf.function(
    losses_and_gradients, autograph=False, jit_compile=mode == "xla"
  )


@pytest.fixture(scope="module", autouse=True)
def _programs_are_dropped():
  yield
  compiled.cache_clear()


def reference(logits, labels, counts, lengths, naive, blank=0):
  losses, gradients = [], np.zeros(logits.shape)
  for b in range(len(logits)):
    valid = np.s_[: lengths[b], : counts[b] + 1]
    loss, gradient = naive(
      np.asarray(logits[b], np.float64)[valid], labels[b][: counts[b]], blank
    )
    losses.append(loss)
    gradients[b][valid] = gradient
  return np.array(losses), gradients


def through_joint(inputs, change):
  """NumPy gradient of the inputs, from that of the logits."""
  encoder, prediction, we, wp, bias, wo, _ = (x.astype(float) for x in inputs)
  sums = (encoder @ we)[:, :, None] + (prediction @ wp)[:, None] + bias
  hidden = np.tanh(sums)
  before = (change @ wo.T) * (1 - hidden**2)
  of_encoder, of_prediction = before.sum(axis=2), before.sum(axis=1)
  return [
    of_encoder @ we.T,
    of_prediction @ wp.T,
    np.einsum("btd,bth->dh", encoder, of_encoder),
    np.einsum("bup,buh->ph", prediction, of_prediction),
    before.sum(axis=(0, 1, 2)),
    np.einsum("btuh,btuv->hv", hidden, change),
    change.sum(axis=(0, 1, 2)),
  ]


@pytest.mark.parametrize("blank", [0, 4])
@pytest.mark.parametrize("mode", MODES)
def test_plain_equals_enumeration(mode, blank):
  rng = np.random.default_rng(0)
  logits = 2 * rng.normal(size=list(SIZES.values())).astype(np.float32)
  labels = np.array(LABELS) if blank == 0 else 4 - np.array(LABELS)
  got, (change,) = run(
    "plain", mode, [logits], labels, COUNTS, LENGTHS, blank_index=blank
  )
  losses, gradients = reference(
    logits,
    labels,
    COUNTS,
    LENGTHS,
    transducer_reference.enumerate_paths,
    blank,
  )
  np.testing.assert_allclose(got, losses, rtol=1e-6, atol=1e-5)
  np.testing.assert_allclose(change, gradients, atol=1e-5)


@pytest.mark.parametrize("slice_frames", [None, 1, 3, 4, 9])
@pytest.mark.parametrize("mode", MODES)
def test_fused_equals_enumeration(mode, slice_frames):
  inputs = make_inputs(**SIZES)
  got, changes = run(
    "fused", mode, inputs, LABELS, COUNTS, LENGTHS, slice_frames=slice_frames
  )
  losses, gradients = reference(
    make_logits(inputs),
    LABELS,
    COUNTS,
    LENGTHS,
    transducer_reference.enumerate_paths,
  )
  np.testing.assert_allclose(got, losses, rtol=1e-6, atol=1e-5)
  for change, want in zip(changes, through_joint(inputs, gradients)):
    np.testing.assert_allclose(change, want, atol=1e-5)


def test_the_two_references_agree():
  logits = np.random.default_rng(1).normal(size=[5, 4, 6])
  one = transducer_reference.enumerate_paths(logits, [1, 5, 1])
  other = transducer_reference.forward_backward(logits, [1, 5, 1])
  np.testing.assert_allclose(one[0], other[0], rtol=1e-12)
  np.testing.assert_allclose(one[1], other[1], atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_equals_finite_differences(form):
  inputs = make_inputs(2, 3, 3, 4)
  if form == "plain":
    inputs = [make_logits(inputs).numpy()]
  labels, counts, lengths = [[1, 3], [2, 0]], [2, 1], [3, 2]
  _, changes = run(form, "graph", inputs, labels, counts, lengths)
  rng = np.random.default_rng(2)
  for i, change in enumerate(changes):
    direction = rng.normal(size=inputs[i].shape).astype(np.float32)
    direction /= np.linalg.norm(direction)
    sums = []
    for step in (-1e-2, 1e-2):
      moved = list(inputs)
      moved[i] = inputs[i] + step * direction
      losses, _ = run(form, "eager", moved, labels, counts, lengths)
      sums.append(losses.astype(np.float64).sum())
    slope = (sums[1] - sums[0]) / 2e-2
    np.testing.assert_allclose(
      np.vdot(change, direction), slope, rtol=2e-3, atol=1e-3
    )


def test_realistic_size_equals_forward_backward():
  # Of 64 classes: five slices of frames, in a quarter of the memory of 256.
  batch, frames, columns, vocab = 8, 200, 51, 64
  inputs = make_inputs(batch, frames, columns, vocab, dim=8, hidden=16)
  logits = make_logits(inputs).numpy()
  rng = np.random.default_rng(3)
  labels = rng.integers(1, vocab, [batch, columns - 1])
  counts = [50, 49, 30, 10, 1, 0, 50, 50]
  lengths = [200, 199, 150, 200, 1, 100, 50, 1]
  losses, gradients = reference(
    logits, labels, counts, lengths, transducer_reference.forward_backward
  )
  got, (change,) = run("plain", "graph", [logits], labels, counts, lengths)
  np.testing.assert_allclose(got, losses, rtol=1e-6)
  np.testing.assert_allclose(change, gradients, atol=1e-5)
  del change
  got, changes = run("fused", "graph", inputs, labels, counts, lengths)
  np.testing.assert_allclose(got, losses, rtol=1e-6)
  for change, want in zip(changes, through_joint(inputs, gradients)):
    # Sums over up to 80,000 nodes, of the size of their largest.
    np.testing.assert_allclose(change, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_dtypes_are_computed_in_float32(form, dtype):
  inputs = make_inputs(**SIZES)
  if form == "plain":
    inputs = [make_logits(inputs)]
  inputs = [tf.cast(x, dtype) for x in inputs]
  same = [tf.cast(x, tf.float32) for x in inputs]
  losses, changes = run(form, "graph", inputs, LABELS, COUNTS, LENGTHS)
  want, wanted = run(form, "graph", same, LABELS, COUNTS, LENGTHS)
  np.testing.assert_allclose(losses, want, rtol=1e-6)
  for change, expected in zip(changes, wanted):
    assert change.dtype == dtype
    precision = {"bfloat16": 2**-8, "float16": 2**-10}.get(dtype, 1e-6)
    np.testing.assert_allclose(
      tf.cast(change, tf.float32), expected, rtol=precision, atol=1e-6
    )


@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form):
  """Not even NaN; the gradient there is exactly 0."""
  inputs = make_inputs(**SIZES)
  if form == "plain":
    inputs = [make_logits(inputs).numpy()]
  want, wanted = run(form, "graph", inputs, LABELS, COUNTS, LENGTHS)
  grown = [
    np.pad(inputs[0], [[0, 0], [0, 3]] + [[0, 0]] * (inputs[0].ndim - 2)),
    *inputs[1:],
  ]
  axis_of_labels = 0 if form == "plain" else 1
  pad = [[0, 0]] * inputs[axis_of_labels].ndim
  pad[2 if form == "plain" else 1] = [0, 2]
  grown[axis_of_labels] = np.pad(grown[axis_of_labels], pad)
  outside = []
  for x, of_frames, of_columns in (
    [(grown[0], 1, 2)]
    if form == "plain"
    else [
      (grown[0], 1, None),
      (grown[1], None, 1),
    ]
  ):
    mask = np.zeros(x.shape, bool)
    for b in range(len(x)):
      if of_frames:
        mask[b, LENGTHS[b] :] = True
      if of_columns == 2:
        mask[b, :, COUNTS[b] + 1 :] = True
      elif of_columns == 1:
        mask[b, COUNTS[b] + 1 :] = True
    x[mask] = np.nan
    outside.append(mask)
  labels = np.pad(LABELS, [[0, 0], [0, 2]], constant_values=99)
  got, changes = run(form, "graph", grown, labels, COUNTS, LENGTHS)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  for change, mask in zip(changes, outside):
    assert mask.any() and not np.any(change.numpy()[mask])
  for change, old in zip(changes, wanted):
    inside = tuple(slice(size) for size in old.shape)
    np.testing.assert_allclose(change[inside], old, atol=1e-6)


def test_hopeless_utterances():
  """No frames; a label of probability 0; neither harms its neighbours."""
  logits = np.zeros([4, 3, 3, 4], np.float32)
  logits[2, :, :, 2] = -np.inf
  labels, counts, lengths = [[1, 2]] * 4, [2, 0, 2, 2], [0, 0, 3, 3]
  for mode in MODES:
    losses, (change,) = run("plain", mode, [logits], labels, counts, lengths)
    np.testing.assert_array_equal(losses[:3], [np.inf, 0.0, np.inf])
    want, gradient = transducer_reference.enumerate_paths(logits[3], [1, 2])
    np.testing.assert_allclose(losses[3], want, rtol=1e-6)
    assert not np.any(change[:3])
    np.testing.assert_allclose(change[3], gradient, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_no_frames_or_labels_at_all(form):
  inputs = make_inputs(2, 0, 1, 4)
  if form == "plain":
    inputs = [make_logits(inputs)]
  losses, changes = run(
    form, "graph", inputs, np.zeros([2, 0], np.int32), [0, 0], [0, 0]
  )
  np.testing.assert_array_equal(losses, [0.0, 0.0])
  assert not any(np.any(change) for change in changes)


@pytest.mark.parametrize("mode", MODES)
def test_nan_stays_in_its_utterance(mode):
  logits = np.zeros([3, 3, 3, 4], np.float32)
  logits[1, 1, 1, 3] = np.nan
  batch = [[1, 2]] * 3, [2, 2, 2], [3, 3, 3]
  losses, (change,) = run("plain", mode, [logits], *batch)
  np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
  assert np.isnan(change[1]).all() and np.isfinite(change[::2]).all()
  # Left out of the sum, it does no harm.
  _, (change,) = run("plain", mode, [logits], *batch, weights=[1, 0, 2])
  assert np.isfinite(change).all() and not np.any(change[1])
  assert np.any(change[0])


@pytest.mark.parametrize(
  ("field", "labels", "counts", "lengths"),
  [
    ("length", [[1, 2]], [2], [4]),
    ("length", [[1, 2]], [2], [-1]),
    ("label_length", [[1, 2]], [3], [3]),
    ("label_length", [[1, 2]], [-1], [3]),
    ("labels", [[1, 4]], [2], [3]),
    ("labels", [[1, -1]], [2], [3]),
    ("labels", [[1, 0]], [2], [3]),
  ],
)
@pytest.mark.parametrize("form", FORMS)
def test_wrong_values(form, field, labels, counts, lengths):
  inputs = make_inputs(1, 3, 3, 4)
  if form == "plain":
    inputs = [make_logits(inputs)]
  with pytest.raises(ValueError, match=rf"^{field} must .* Received: {field}="):
    run(form, "eager", inputs, labels, counts, lengths)
  for mode in ("graph", "xla"):
    losses, changes = run(form, mode, inputs, labels, counts, lengths)
    assert np.isnan(losses).all()
    assert any(np.isnan(change).any() for change in changes)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"blank_index": 4}, "blank_index must be a class, 0 to 3"),
    ({"blank_index": -1}, "blank_index must"),
    ({"labels": [[1]]}, "labels must have U columns"),
    ({"labels": [[1.0, 2.0]]}, "labels must be integers"),
    ({"length": [3, 3]}, "length must have one row for each of 1"),
    ({"label_length": [[2]]}, "label_length must be integers"),
    ({"logits": np.zeros([3, 3, 4])}, "logits must have the shape"),
  ],
)
def test_wrong_shapes(changes, message):
  arguments = {
    "labels": [[1, 2]],
    "label_length": [2],
    "logits": tf.zeros([1, 3, 3, 4]),
    "length": [3],
    **changes,
  }
  with pytest.raises(ValueError, match=f"{message}.*Received: "):
    transducer_loss.transducer_losses(**arguments)


def test_wrong_weights_and_slices():
  encoder, prediction, *weights = make_inputs(1, 3, 3, 4)
  joint = transducer_joint.JointWeights(*weights)
  batch = [[1, 2]], [2], encoder, prediction, [3]
  with pytest.raises(ValueError, match=r"joint.bias must.*Received: joint.b"):
    transducer_loss.fused_transducer_losses(
      *batch, joint._replace(bias=np.zeros(7))
    )
  with pytest.raises(ValueError, match="slice_frames must be at least 1"):
    transducer_loss.fused_transducer_losses(*batch, joint, slice_frames=0)


def test_unknown_sizes():
  """A graph traced for any batch, frames and labels."""
  inputs = make_inputs(**SIZES)
  want, wanted = run("fused", "eager", inputs, LABELS, COUNTS, LENGTHS)
  encoder, prediction, *weights = inputs
  joint = transducer_joint.JointWeights(*map(tf.constant, weights))
  integers = tf.TensorSpec([None], tf.int32)

  @tf.function(
    input_signature=[
      tf.TensorSpec([None, None], tf.int32),
      integers,
      tf.TensorSpec([None, None, 3]),
      tf.TensorSpec([None, None, 4]),
      integers,
    ]
  )
  def both(labels, counts, encoder, prediction, lengths):
    with tf.GradientTape() as tape:
      tape.watch(encoder)
      fused = transducer_loss.fused_transducer_losses(
        labels, counts, encoder, prediction, lengths, joint
      )
    result = [(fused, tape.gradient(fused, encoder))]
    with tf.GradientTape() as tape:
      tape.watch(encoder)
      logits = transducer_joint.joint_logits(encoder, prediction, joint)
      plain = transducer_loss.transducer_losses(labels, counts, logits, lengths)
    return [*result, (plain, tape.gradient(plain, encoder))]

  for losses, change in both(LABELS, COUNTS, encoder, prediction, LENGTHS):
    np.testing.assert_allclose(losses, want, rtol=1e-5)
    np.testing.assert_allclose(change, wanted[0], atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_of_the_gradient_is_refused(form):
  inputs = make_inputs(1, 3, 3, 4)
  if form == "plain":
    inputs = [make_logits(inputs)]
  inputs = [tf.constant(x) for x in inputs]
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    _, changes = run(form, "eager", inputs, [[1, 2]], [2], [3])
  with pytest.raises(NotImplementedError, match="differentiated again"):
    tape.gradient(changes, inputs)


def test_inside_replicas_and_loops(make_strategy):
  """As a training step uses it: variables, replicas, micro-batches."""
  inputs = make_inputs(**SIZES)
  _, wanted = run("fused", "eager", inputs, LABELS, COUNTS, LENGTHS)
  strategy = make_strategy(2)
  with strategy.scope():
    joint = transducer_joint.JointWeights(*map(tf.Variable, inputs[2:]))
  data = [tf.constant(x) for x in (LABELS, COUNTS, *inputs[:2], LENGTHS)]

  def of_replica():
    def body(index, *sums):
      part = [x[index : index + 1] for x in data]
      with tf.GradientTape() as tape:
        losses = transducer_loss.fused_transducer_losses(*part, joint)
      changes = tape.gradient(losses, list(joint))
      return index + 1, *(a + b for a, b in zip(sums, changes))

    def more(index, *_):
      return index < SIZES["batch"]

    zeros = [tf.zeros(x.shape) for x in joint]
    return tf.while_loop(more, body, (0, *zeros))[1:]

  @tf.function(autograph=False)
  def step():
    return strategy.run(of_replica)

  for value, want in zip(step(), wanted[2:]):
    for replica in strategy.experimental_local_results(value):
      np.testing.assert_allclose(replica, want, atol=1e-5)
