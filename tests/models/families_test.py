"""Properties that every model of the registry has, in tiny sizes.

A new family adds one line to `CASES`.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import recogniser, registry

VOCAB = 6
UTTERANCES, SAMPLES = 16, 9600
_CONFORMER = {"dim": 16, "blocks": 1, "heads": 2, "kernel": 5}
_TRANSDUCER = {"encoder": _CONFORMER, "prediction_dim": 16, "joint_dim": 16}
_CHUNKS = {"chunk_frames": 4, "left_chunks": 2}

# A name for the test: name in the registry, fields.
CASES = {
  "conformer_ctc": ("conformer_ctc", {"encoder": _CONFORMER}),
  "lstm_ctc": ("lstm_ctc", {"encoder": {"units": 16, "layers": 1}}),
  "streaming_conformer_ctc": (
    "streaming_conformer_ctc",
    {"encoder": {**_CONFORMER, **_CHUNKS}},
  ),
  "conformer_transducer": ("conformer_transducer", _TRANSDUCER),
  "stateless_transducer": (
    "conformer_transducer",
    {**_TRANSDUCER, "prediction": "stateless"},
  ),
  "pruned_transducer": (
    "conformer_transducer",
    {**_TRANSDUCER, "loss": "pruned", "pruning": {"window": 3}},
  ),
  "hybrid": ("hybrid", _TRANSDUCER),
  "best_rq": (
    "best_rq",
    {"encoder": _CONFORMER, "codebook_size": 8, "mask_ms": 120.0},
  ),
}
each_family = pytest.mark.parametrize("case", CASES)
# The others do not transcribe and are not trained without noise.
each_recogniser = pytest.mark.parametrize(
  "case", [case for case, (f, _) in CASES.items() if registry.is_recogniser(f)]
)


def test_no_family_is_left_out():
  assert {name for name, _ in CASES.values()} == set(registry.MODELS)


def make(case, **overrides):
  """A model of its own, of the current policy and no augmentation."""
  name, fields = CASES[case]
  fields = {"features": {"mels": 32}, **fields}
  if registry.is_recogniser(name):
    fields["specaugment"] = {"frequency_masks": 0, "time_masks": 0}
  keras.utils.set_random_seed(1)
  return registry.build_model(name, {**fields, **overrides}, VOCAB)


@functools.cache
def batch():
  """16 utterances: a tone for every label, the last utterance shorter."""
  rng = np.random.default_rng(0)
  labels = rng.integers(1, VOCAB, [UTTERANCES, 3])
  time = np.arange(SAMPLES // 3) / 16000
  tones = np.sin(2 * np.pi * 300 * 2 ** labels[..., None] / 2 * time)
  audio = 0.3 * tones.reshape([UTTERANCES, SAMPLES])
  audio += 0.01 * rng.normal(size=audio.shape)
  x = {
    "audio": tf.constant(audio, tf.float32),
    "audio_length": tf.constant(
      [SAMPLES] * (UTTERANCES - 1) + [SAMPLES * 2 // 3], tf.int32
    ),
  }
  y = {
    "labels": tf.constant(labels, tf.int32),
    "label_length": tf.constant([3] * (UTTERANCES - 1) + [2], tf.int32),
  }
  return x, y


def gradients(model, training=False):
  """Loss of the batch, its gradients, and the model's outputs."""
  x, y = batch()
  with tf.GradientTape() as tape:
    outputs = model(x, training=training)
    loss = model.compute_loss(x, y, outputs)
  return loss, tape.gradient(loss, model.trainable_variables), outputs


@functools.cache
def untrained(case):
  """A model in float32, that no test changes, and its `gradients`."""
  model = make(case)
  return model, *gradients(model)


def first(x, count):
  return {name: value[:count] for name, value in x.items()}


def assert_same_frames(got, want, rows, atol=1e-4):
  """Compares the valid frames of all outputs, for pairs of rows."""
  assert got.keys() == want.keys()
  for ours, theirs in rows:
    length = int(want["length"][theirs])
    assert int(got["length"][ours]) == length > 0
    for name in set(want) - {"length"}:
      np.testing.assert_allclose(
        got[name][ours, :length], want[name][theirs, :length], atol=atol
      )


@each_recogniser
def test_loss_falls_when_overfitting_compiled_by_xla(case):
  """And the compiled gradients are those of TensorFlow's own kernels."""
  _, want_loss, want, _ = untrained(case)
  model = make(case)
  optimizer = keras.optimizers.Adam(1e-2)
  optimizer.build(model.trainable_variables)

  @tf.function(jit_compile=True, autograph=False)
  def loss_and_gradients():
    return gradients(model, training=True)[:2]

  @tf.function(autograph=False)
  def step():
    loss, changes = loss_and_gradients()
    optimizer.apply(changes, model.trainable_variables)
    return loss

  loss, got = loss_and_gradients()
  np.testing.assert_allclose(loss, want_loss, rtol=1e-4)
  norm = tf.linalg.global_norm([tf.convert_to_tensor(g) for g in want])
  for ours, theirs in zip(got, want):
    change = tf.convert_to_tensor(ours) - tf.convert_to_tensor(theirs)
    assert tf.norm(change) < 1e-3 * norm
  losses = [float(step()) for _ in range(60)]
  assert losses[-1] < 0.2 * losses[0]


@each_family
def test_gradients_reach_every_variable(case):
  model, _, changes, _ = untrained(case)
  dead = [
    variable.path
    for variable, change in zip(model.trainable_variables, changes)
    if change is None or not np.any(tf.convert_to_tensor(change))
  ]
  assert changes and not dead


@each_family
@pytest.mark.parametrize("filling", [0.7, np.nan])
def test_padding_never_changes_an_output(case, filling):
  model, _, _, want = untrained(case)
  x, y = batch()
  padded = tf.pad(x["audio"], [[0, 0], [0, 2003]], constant_values=filling)
  got = model({**x, "audio": padded})
  assert_same_frames(got, want, [(i, i) for i in range(UTTERANCES)])
  wider = tf.pad(y["labels"], [[0, 0], [0, 2]])
  np.testing.assert_allclose(
    model.example_losses({**y, "labels": wider}, got),
    model.example_losses(y, want),
    rtol=1e-4,
  )


@each_family
def test_batch_composition_never_changes_an_output(case):
  model, _, _, want = untrained(case)
  x, y = batch()
  losses = model.example_losses(y, want)
  reverse = {name: value[::-1] for name, value in x.items()}
  pairs = [(i, UTTERANCES - 1 - i) for i in range(UTTERANCES)]
  assert_same_frames(model(reverse), want, pairs)
  # A batch of one.
  alone = model(first(x, 1))
  assert_same_frames(alone, want, [(0, 0)])
  np.testing.assert_allclose(
    model.example_losses(first(y, 1), alone), losses[:1], rtol=1e-4
  )


@each_family
def test_keras_round_trip(case, tmp_path):
  model, _, _, want = untrained(case)
  model.save(tmp_path / "model.keras")
  loaded = keras.models.load_model(tmp_path / "model.keras")
  assert loaded.get_config() == model.get_config()
  for got, saved in zip(loaded.weights, model.weights, strict=True):
    np.testing.assert_array_equal(got, saved)
  got = loaded(first(batch()[0], 2))
  assert_same_frames(got, want, [(0, 0), (1, 1)])


@each_family
def test_bfloat16_runs_and_is_close(case):
  model, want_loss, _, want = untrained(case)
  keras.config.set_dtype_policy("mixed_bfloat16")
  low = make(case)
  low.set_weights(model.get_weights())
  loss, changes, got = gradients(low)
  assert {v.dtype for v in low.trainable_variables} == {"float32"}
  assert 0 < abs(float(loss) - float(want_loss)) < 0.03 * float(want_loss)
  for name, value in want.items():
    if value.dtype == tf.float32:
      difference = tf.cast(got[name], tf.float32) - value
      scale = float(tf.math.reduce_std(value))
      assert 0 < float(tf.math.reduce_std(difference)) < 0.03 * scale
  assert all(np.all(np.isfinite(tf.convert_to_tensor(c))) for c in changes)


@each_recogniser
def test_sound_that_cannot_be_heard(case):
  """Nothing, less than a frame, NaN: no tokens, and no harm to the others."""
  model, _, _, want = untrained(case)
  x, y = batch()
  audio = x["audio"][:4].numpy()
  audio[2, SAMPLES // 2] = np.nan
  audio[3, SAMPLES * 2 // 3 :] = np.nan  # Behind the end.
  spoken = [0, 100, SAMPLES, SAMPLES * 2 // 3]
  y, x = first(y, 4), {"audio": audio, "audio_length": tf.constant(spoken)}
  outputs = model(x)
  lengths = [int(model.frames(samples)) for samples in spoken]
  assert outputs["length"].numpy().tolist() == lengths
  losses = model.example_losses(y, outputs).numpy()
  alone = model(
    {"audio": audio[3:, : spoken[3]], "audio_length": tf.constant(spoken[3:])}
  )
  assert_same_frames(outputs, alone, [(3, 0)])
  np.testing.assert_allclose(
    losses[3], model.example_losses(_rows(y, 3), alone)[0], rtol=1e-4
  )
  assert np.isnan(losses[2]) and np.isfinite(losses[3])
  ids, counts = model.decode(outputs)
  assert ids.dtype == counts.dtype == tf.int32
  assert counts[2] == 0 and not np.any(ids[2])
  assert counts[0] == 0 and not np.any(ids[0])
  paths, numbers, scores = model.n_best(outputs, 2, 4)
  assert paths.shape[:2] == numbers.shape == scores.shape == [4, 2]
  assert numbers[2].numpy().tolist() == [0, 0]
  assert not np.any(np.isnan(scores))


@each_recogniser
def test_labels_that_are_none(case):
  """Eagerly an error that names them, in a graph NaN for their utterance."""
  model, _, _, outputs = untrained(case)
  _, y = batch()
  want = model.example_losses(y, outputs).numpy()
  in_graph = tf.function(model.example_losses, autograph=False)
  for wrong in (VOCAB, 999, -1, 0):
    labels = y["labels"].numpy()
    labels[1, 0] = wrong
    spoiled = {**y, "labels": tf.constant(labels)}
    message = rf"^labels must hold classes, 0 to 5.*Received: labels=\[{wrong}"
    with pytest.raises(ValueError, match=message):
      model.example_losses(spoiled, outputs)
    losses = in_graph(spoiled, outputs).numpy()
    assert np.isnan(losses[1])
    np.testing.assert_allclose(losses[2:], want[2:], rtol=1e-4)


def _rows(y, row):
  return {name: value[row : row + 1] for name, value in y.items()}


@each_recogniser
def test_dynamic_shapes_and_searches_in_a_graph(case):
  """A graph for any batch, and searches that agree with the eager ones."""
  model, _, _, _ = untrained(case)
  x, _ = batch()

  @tf.function(
    input_signature=[
      {
        "audio": tf.TensorSpec([None, None], tf.float32),
        "audio_length": tf.TensorSpec([None], tf.int32),
      }
    ],
    autograph=False,
  )
  def recognise(x):
    outputs = model(x)
    return outputs, model.decode(outputs), model.n_best(outputs, 2, 4)

  outputs, (ids, counts), (paths, _, scores) = recognise(first(x, 3))
  eager = model(first(x, 3))
  assert_same_frames(outputs, eager, [(i, i) for i in range(3)])
  want_ids, want_counts = model.decode(eager)
  np.testing.assert_array_equal(ids, want_ids)
  np.testing.assert_array_equal(counts, want_counts)
  want_paths, _, want_scores = model.n_best(eager, 2, 4)
  np.testing.assert_array_equal(paths, want_paths)
  np.testing.assert_allclose(scores, want_scores, atol=1e-3)


@each_family
def test_frames_equals_the_network(case):
  samples = np.array([0, 399, 400, 1000, 4799, 4800, 7777, SAMPLES])
  model, _, _, _ = untrained(case)
  outputs = model(
    {
      "audio": tf.zeros([len(samples), SAMPLES]),
      "audio_length": tf.constant(samples, tf.int32),
    }
  )
  np.testing.assert_array_equal(outputs["length"], model.frames(samples))
  assert all(np.all(np.isfinite(value)) for value in outputs.values())


@each_family
def test_what_fits_can_be_learnt(case):
  model, _, _, _ = untrained(case)
  frames = int(model.frames(SAMPLES))
  known = [1, 2] * (frames // 2)
  assert model.fits(known, SAMPLES)
  assert not model.fits(known[:1], 0)
  if isinstance(model, recogniser.Recogniser):
    assert not model.fits(known * 4, SAMPLES)
  # Repeats need a blank between them, except in a transducer.
  by_ctc = hasattr(model, "head") and isinstance(model, recogniser.Recogniser)
  assert model.fits([1] * frames, SAMPLES) != by_ctc
