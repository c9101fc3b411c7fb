"""The transducer's loss against all paths, forward-backward and differences."""

import numpy as np
import pytest
import tensorflow as tf

from models.losses import transducer_joint, transducer_loss
from tests.models.losses import transducer_reference
from tests.models.losses.transducer_runs import (
  COUNTS,
  FORMS,
  LABELS,
  LENGTHS,
  MODES,
  SIZES,
  make_inputs,
  make_logits,
  reference,
  run,
  through_joint,
)


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
