"""Names, fields and sizes of the registry; what fields do to a Conformer.

families_test.py has the properties of every family.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import conformer, registry

VOCAB = 12
_SMALL = {"dim": 32, "blocks": 2, "heads": 2, "kernel": 5}

# Small enough to run in seconds, one line for each way through the code that
# families_test.py does not take.
CASES = {
  "conformer_ctc_dropout_global": (
    "conformer_ctc",
    {
      "encoder": {**_SMALL, "dropout": 0.1, "subsampling_factor": 6},
      "features": {"normalization": "global", "mels": 40},
    },
  ),
  "conformer_ctc_conv2d_rotary": (
    "conformer_ctc",
    {
      "size": "S",
      "encoder": {**_SMALL, "dropout": 0.0, "position": "rotary"},
      "specaugment": {"time_masks": 2},
    },
  ),
}
each_model = pytest.mark.parametrize("case", CASES)


def build(case, **overrides):
  name, config = CASES[case]
  return registry.build_model(name, {**config, **overrides}, VOCAB)


def batch(seed=0, size=3, samples=12000):
  """Tones, so that labels can be told from the sound."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(1, VOCAB, [size, 3])
  time = np.arange(samples // 3) / 16000
  tones = np.sin(2 * np.pi * 250 * (1 + labels[..., None]) * time)
  audio = 0.3 * tones.reshape([size, -1]) + 0.01 * rng.normal(
    size=[size, samples // 3 * 3]
  )
  lengths = np.full(size, audio.shape[1])
  lengths[-1] = audio.shape[1] * 2 // 3
  x = {
    "audio": tf.constant(audio, tf.float32),
    "audio_length": tf.constant(lengths, tf.int32),
  }
  y = {
    "labels": tf.constant(labels, tf.int32),
    "label_length": tf.constant([3] * (size - 1) + [2], tf.int32),
  }
  return x, y


def gradients(model, x, y, training=True):
  with tf.GradientTape() as tape:
    y_pred = model(x, training=training)
    loss = model.compute_loss(x, y, y_pred)
  return loss, tape.gradient(loss, model.trainable_variables)


@each_model
def test_loss_falls_when_overfitting(case):
  x, y = batch()
  quiet = {"frequency_masks": 0, "time_masks": 0}
  model = build(case, specaugment=quiet)
  optimizer = keras.optimizers.Adam(3e-3)
  optimizer.build(model.trainable_variables)

  @tf.function
  def step():
    loss, grads = gradients(model, x, y)
    optimizer.apply(grads, model.trainable_variables)
    return loss

  losses = [float(step()) for _ in range(60)]
  assert losses[-1] < 0.2 * losses[0]
  ids, counts = model.decode(model(x))
  assert ids.dtype == counts.dtype == tf.int32


@each_model
def test_gradients_reach_every_variable(case):
  x, y = batch()
  model = build(case)
  _, grads = gradients(model, x, y)
  dead = [
    variable.path
    for variable, grad in zip(model.trainable_variables, grads)
    if grad is None or not np.any(grad)
  ]
  assert not dead


@each_model
@pytest.mark.parametrize("filling", [0.0, 0.7, np.nan])
def test_padding_never_changes_an_output(case, filling):
  x, _ = batch()
  model = build(case)
  want = model(x)
  padded = tf.pad(x["audio"], [[0, 0], [0, 5003]], constant_values=filling)
  got = model({**x, "audio": padded})
  np.testing.assert_array_equal(got["length"], want["length"])
  assert got["logits"].shape[1] > want["logits"].shape[1]
  for ours, theirs, count in zip(
    got["logits"], want["logits"], want["length"].numpy()
  ):
    np.testing.assert_allclose(ours[:count], theirs[:count], atol=1e-4)


@each_model
def test_batch_composition_never_changes_an_output(case):
  x, _ = batch()
  model = build(case)
  together = model(x)
  for index in range(3):
    alone = model({key: value[index : index + 1] for key, value in x.items()})
    count = int(alone["length"][0])
    assert count == int(together["length"][index])
    np.testing.assert_allclose(
      together["logits"][index, :count], alone["logits"][0, :count], atol=1e-4
    )


@each_model
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_keras_round_trip(case, policy, tmp_path):
  x, _ = batch()
  keras.config.set_dtype_policy(policy)
  model = build(case)
  for variable in model.non_trainable_variables:
    if variable.dtype == "float32":
      variable.assign(variable + 0.5)
  want = model(x)
  model.save(tmp_path / "model.keras")
  keras.config.set_dtype_policy("float32")
  loaded = keras.models.load_model(tmp_path / "model.keras")
  np.testing.assert_array_equal(loaded(x)["logits"], want["logits"])
  np.testing.assert_array_equal(loaded(x)["length"], want["length"])
  assert loaded.get_config() == model.get_config()


@each_model
def test_xla_compiles_and_agrees(case):
  x, y = batch()
  plain, compiled = build(case), build(case)
  compiled.set_weights(plain.get_weights())

  @tf.function(jit_compile=True)
  def run(training):
    return gradients(compiled, x, y, training)

  # XLA draws other noise, so only the path without noise can be compared.
  want_loss, want = gradients(plain, x, y, training=False)
  loss, got = run(False)
  np.testing.assert_allclose(loss, want_loss, rtol=1e-4)
  norm = tf.linalg.global_norm(want)
  for ours, theirs in zip(got, want):
    assert tf.norm(ours - theirs) < 1e-3 * norm
  noisy_loss, noisy = run(True)
  assert np.isfinite(noisy_loss) and tf.linalg.global_norm(noisy) > 0


@each_model
def test_bfloat16_policy_stays_close(case):
  x, y = batch()
  model = build(case)
  keras.config.set_dtype_policy("mixed_bfloat16")
  low = build(case)
  low.set_weights(model.get_weights())
  assert low(x)["logits"].dtype == tf.float32
  assert {v.dtype for v in low.trainable_variables} == {"float32"}
  want, got = model(x)["logits"], low(x)["logits"]
  assert 0 < np.abs(want - got).max() < 0.15
  loss, grads = gradients(low, x, y)
  assert np.isfinite(loss) and all(np.all(np.isfinite(g)) for g in grads)


@each_model
def test_dynamic_shapes(case):
  x, _ = batch()
  model = build(case)

  @tf.function(
    input_signature=[
      {
        "audio": tf.TensorSpec([None, None], tf.float32),
        "audio_length": tf.TensorSpec([None], tf.int32),
      }
    ]
  )
  def run(x):
    return model(x)["logits"]

  np.testing.assert_allclose(run(x), model(x)["logits"], atol=1e-4)


@each_model
def test_frames_equals_the_network(case):
  samples = np.array([0, 399, 400, 1000, 4799, 4800, 7777, 16000])
  model = build(case)
  x = {
    "audio": tf.zeros([len(samples), 16000]),
    "audio_length": tf.constant(samples, tf.int32),
  }
  y_pred = model(x)
  np.testing.assert_array_equal(y_pred["length"], model.frames(samples))
  assert y_pred["logits"].shape[1] == model.frames(16000)
  assert np.all(np.isfinite(y_pred["logits"]))


@pytest.mark.parametrize(
  ("name", "config", "message"),
  [
    ("listen_attend_spell", {}, "'conformer_ctc'.*listen_attend_spell"),
    ("conformer_ctc", {"sice": "tiny"}, "'size'.*Received: \\['sice'\\]"),
    ("conformer_ctc", {"size": "XL"}, "'tiny'.*Received: size='XL'"),
    ("conformer_ctc", {"encoder": {"dims": 3}}, "'dim'.*\\['dims'\\]"),
    ("conformer_ctc", {"features": {"mel": 3}}, "'mels'.*\\['mel'\\]"),
    ("conformer_ctc", {"specaugment": {"f": 3}}, "time_masks.*\\['f'\\]"),
    ("conformer_ctc", {"encoder": {"heads": 5}}, "heads=5"),
    ("conformer_ctc", {"encoder": {"subsampling_factor": 3}}, "factor=3"),
  ],
)
def test_unknown_names_and_fields_list_the_known(name, config, message):
  with pytest.raises(ValueError, match=message):
    registry.build_model(name, config, VOCAB)


@pytest.mark.parametrize(
  ("size", "millions"), [("S", 10.3), ("M", 30.7), ("L", 118.8)]
)
def test_sizes_are_the_papers(size, millions):
  """Table 1 counts a transducer with 1k word pieces.

  The paper does not state its joint network; with one of width 640 the sums are
  within 6%.
  """
  # One block is built and counted as often as there are: L has 0.5 GB.
  counts = [
    registry.build_model(
      "conformer_transducer",
      {"size": size, "encoder": {"blocks": blocks}},
      vocab_size=1024,
    ).count_params()
    for blocks in (1, 2)
  ]
  more = conformer.SIZES[size].blocks - 1
  total = counts[0] + more * (counts[1] - counts[0])
  assert abs(total / (millions * 1e6) - 1) < 0.06


def test_tiny_is_tiny():
  model = registry.build_model("conformer_ctc", {"size": "tiny"}, 256)
  assert 0.5e6 < model.count_params() < 1.5e6
