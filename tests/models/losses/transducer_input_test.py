"""What the transducer's loss makes of unusual and of wrong input."""

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
  run,
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
