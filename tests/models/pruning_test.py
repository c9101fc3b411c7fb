"""Transducers that are trained with the pruned loss, beside the others.

families_test.py has the properties of every family, this loss included.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import pruning, registry
from tests.models import families_test

PRUNING = {
  "window": 3,
  "simple_scale": 0.25,
  "lm_only_scale": 0.25,
  "am_only_scale": 0.125,
  "warmup_steps": 8,
}


def make(case="conformer_transducer", **overrides):
  return families_test.make(case, **overrides)


@pytest.fixture(scope="module")
def pruned():
  return make(loss="pruned", pruning=PRUNING)


def outputs_of(model):
  x, y = families_test.batch()
  return x, y, model(x)


def test_the_weights_of_the_loss_come_on_top():
  """The others are those of a full loss, in the same order."""
  models = make(), make(loss="pruned", pruning=PRUNING)
  full, pruned = ([(w.name, w.shape) for w in m.weights] for m in models)
  own = [
    (w.name, w.shape)
    for w in models[1].simple_joint.weights  # pyright: ignore[reportAttributeAccessIssue]
  ]
  assert len(own) == 3 and pruned == full + own


def test_likelihoods_count_all_paths(pruned):
  """What is scored and audited does not depend on how it was trained."""
  plain = make()
  plain.set_weights(pruned.get_weights()[:-3])
  x, y, outputs = outputs_of(pruned)
  want = plain.example_losses(y, plain(x))
  np.testing.assert_allclose(pruned.example_losses(y, outputs), want, rtol=1e-5)
  np.testing.assert_allclose(
    pruned.compute_loss(x, y, outputs, training=False),
    tf.reduce_mean(want),
    rtol=1e-5,
  )
  trained = pruned.training_losses(y, outputs)
  assert np.all(trained > want)
  np.testing.assert_allclose(
    pruned.compute_loss(x, y, outputs), tf.reduce_mean(trained), rtol=1e-5
  )


def test_an_utterance_alone_is_trained_alike(pruned):
  x, y, outputs = outputs_of(pruned)
  want = pruned.training_losses(y, outputs)
  rows = slice(14, 16)
  alone, few = ({k: v[rows] for k, v in z.items()} for z in (x, y))
  got = pruned.training_losses(few, pruned(alone))
  np.testing.assert_allclose(got, want[rows], rtol=1e-4)


@pytest.mark.parametrize("case", ["conformer_transducer", "hybrid"])
def test_warm_up_by_the_steps_of_the_optimizer(case):
  model = make(case, loss="pruned", pruning=PRUNING)
  x, y, outputs = outputs_of(model)
  after = model.training_losses(y, outputs)
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  losses = tf.function(model.training_losses, autograph=False)
  found = []
  for step in (0, 4, 8, 12):
    model.optimizer.iterations.assign(step)
    found.append(losses(y, outputs))
  np.testing.assert_allclose(found[2], after, rtol=1e-5)
  np.testing.assert_allclose(found[3], after, rtol=1e-5)
  # The scales are straight lines of the step, and so is the sum.
  middle = (found[0] + found[2]) / 2
  np.testing.assert_allclose(found[1], middle, rtol=1e-5)
  assert not np.allclose(found[0], after, rtol=1e-2)


def test_scales():
  config = pruning.PruningConfig(**PRUNING)
  for step, want in (
    (0, (1.0, 0.1)),
    (4, (0.625, 0.55)),
    (8, (0.25, 1.0)),
    (99, (0.25, 1.0)),
    (None, (0.25, 1.0)),
  ):
    np.testing.assert_allclose(config.scales(step), want, rtol=1e-6)
  at_once = pruning.PruningConfig(simple_scale=2)
  np.testing.assert_allclose(at_once.scales(0), (2.0, 1.0))


def test_what_has_no_path_is_not_trained_on(pruned):
  """Two labels a frame at most; more are left out, or lost without a trace."""
  frames = int(pruned.frames(families_test.SAMPLES))
  assert pruned.fits([1] * 2 * frames, families_test.SAMPLES)
  assert not pruned.fits([1] * (2 * frames + 1), families_test.SAMPLES)
  assert make().fits([1] * (2 * frames + 1), families_test.SAMPLES)
  x, _, outputs = outputs_of(pruned)
  few = {name: value[:2] for name, value in outputs.items()}
  few["encoded"] = few["encoded"][:, :2]
  y = {
    "labels": tf.constant([[1, 2, 3, 4, 1]] * 2),
    "label_length": tf.constant([5, 4]),
  }
  few["length"] = tf.constant([2, 2])
  with tf.GradientTape() as tape:
    tape.watch(few["encoded"])
    losses = pruned.training_losses(y, few)
  change = tape.gradient(losses, few["encoded"])
  assert np.isinf(losses[0]) and np.isfinite(losses[1])
  assert not np.any(change[0]) and np.any(change[1])


def test_saved_with_its_loss(pruned, tmp_path):
  pruned.save(tmp_path / "model.keras")
  loaded = keras.models.load_model(tmp_path / "model.keras")
  assert loaded.get_config()["pruning"] == PRUNING
  _, y, outputs = outputs_of(pruned)
  np.testing.assert_allclose(
    loaded.training_losses(y, outputs),
    pruned.training_losses(y, outputs),
    rtol=1e-5,
  )


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"loss": "fast"}, r"loss must be one of .*Received: loss='fast'"),
    ({"loss": None}, r"loss must be one of .*Received: loss=None"),
    ({"pruning": {"window": 4}}, r"loss='pruned' alone.*Received: loss='full'"),
    (
      {"loss": "pruned", "pruning": {"windows": 4}},
      r"pruning knows the fields .*'window'.*Received: \['windows'\]",
    ),
  ],
)
def test_unknown_fields(fields, message):
  with pytest.raises(ValueError, match=message):
    registry.build_model("conformer_transducer", fields, 6)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("window", 1),
    ("window", 4.5),
    ("window", True),
    ("simple_scale", 0.0),
    ("simple_scale", float("nan")),
    ("simple_scale", "0.5"),
    ("lm_only_scale", 1.5),
    ("am_only_scale", 0.9),
    ("warmup_steps", -1),
    ("warmup_steps", None),
  ],
)
def test_wrong_fields(field, value):
  with pytest.raises(ValueError, match=rf"{field} .*be .*Received: .*{field}="):
    pruning.of_loss("pruned", {field: value})
