"""CTC recognisers: replicas, waveform dtype, lengths, the blank's prior."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import conformer, ctc
from models.decoding import ctc_decoding
from models.layers import blank_prior

ENCODER = {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3, "dropout": 0.2}


def _small(**arguments):
  arguments = {"vocab_size": 6, "encoder": ENCODER, **arguments}
  model = ctc.ConformerCTC(**arguments)
  model.build_from_signature()
  return model


def test_loss_is_the_mean_of_example_losses_on_every_replica(make_strategy):
  strategy = make_strategy(2)
  with strategy.scope():
    model = _small()
  x = {
    "audio": tf.random.stateless_normal([2, 8000], [1, 2]) * 0.1,
    "audio_length": tf.constant([8000, 6000]),
  }
  y = {"labels": tf.constant([[1, 2], [3, 0]]), "label_length": [2, 1]}

  @tf.function
  def run():
    def loss():
      return model.compute_loss(x, y, model(x))

    return strategy.run(loss)

  want = np.mean(model.example_losses(y, model(x)))
  for got in strategy.experimental_local_results(run()):
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_training_noise_differs_between_replicas(make_strategy):
  strategy = make_strategy(2)
  with strategy.scope():
    model = _small(specaugment={"frequency_masks": 0, "time_masks": 0})
  x = {
    "audio": tf.random.stateless_normal([2, 8000], [1, 2]) * 0.1,
    "audio_length": tf.constant([8000, 6000]),
  }

  @tf.function
  def run():
    def logits():
      return model(x, training=True)["logits"]

    return strategy.run(logits)

  first, second = strategy.experimental_local_results(run())
  assert np.abs(first - second).max() > 1e-3


def test_bfloat16_policy_leaves_the_waveform_alone():
  keras.config.set_dtype_policy("mixed_bfloat16")
  model = _small()
  x = {
    "audio": tf.random.stateless_normal([1, 8000], [1, 2]) * 0.1,
    "audio_length": tf.constant([8000]),
  }
  want, _ = model.log_mel(x["audio"], x["audio_length"])
  recognised = []
  specaugment = model.specaugment.call
  model.specaugment.call = lambda features, *args, **kwargs: (
    recognised.append(features) or specaugment(features, *args, **kwargs)
  )
  model(x)
  np.testing.assert_array_equal(recognised[0], want)


def test_frames_on_many_lengths():
  model = _small(encoder={**ENCODER, "subsampling_factor": 6})
  samples = np.arange(0, 8000, 37)
  x = {
    "audio": tf.zeros([len(samples), 8000]),
    "audio_length": tf.constant(samples, tf.int32),
  }
  np.testing.assert_array_equal(model(x)["length"], model.frames(samples))


def test_vocabulary_needs_a_token():
  with pytest.raises(ValueError, match="Received: vocab_size=1"):
    ctc.ConformerCTC(vocab_size=1, encoder=conformer.SIZES["tiny"])


@pytest.mark.parametrize("prior", [0.5, 0.9])
def test_blank_prior_is_what_the_bias_says(prior):
  bias = blank_prior.BlankPrior(prior)((30,), "float32")
  probabilities = tf.nn.softmax(bias).numpy()
  np.testing.assert_allclose(probabilities[0], prior, rtol=1e-6)
  np.testing.assert_allclose(probabilities[1:], (1 - prior) / 29, rtol=1e-6)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, float("nan")])
def test_blank_prior_out_of_range_is_refused(prior):
  with pytest.raises(ValueError, match="Received: blank_prior="):
    blank_prior.BlankPrior(prior)


def test_lengths_end_with_the_audio():
  model = _small()
  audio = tf.random.stateless_normal([3, 4000], [1, 2]) * 0.1
  given = model({"audio": audio, "audio_length": tf.constant([9999, -5, 4000])})
  meant = model({"audio": audio, "audio_length": tf.constant([4000, 0, 4000])})
  np.testing.assert_array_equal(given["length"], meant["length"])
  assert given["length"][0] == model.frames(4000) and given["length"][1] == 0
  np.testing.assert_array_equal(given["logits"], meant["logits"])


def test_n_best_and_frame_log_probs():
  model = _small()
  audio = np.random.default_rng(0).normal(size=[3, 6000]).astype(np.float32)
  audio[1, 50] = np.nan
  outputs = model({"audio": audio, "audio_length": tf.constant([6000] * 3)})
  ids, counts, scores = model.n_best(outputs, 2, 64)
  want = ctc_decoding.beam_search(outputs["logits"], outputs["length"], 64, 2)
  np.testing.assert_array_equal(ids, want[0])
  np.testing.assert_array_equal(scores, want[2])
  assert np.all(np.diff(scores[0]) <= 0)
  # A score is the log-probability that the loss is made of.
  y = {"labels": ids[:, 0], "label_length": counts[:, 0]}
  losses = model.example_losses(y, outputs)
  np.testing.assert_allclose(scores[0, 0], -losses[0], atol=1e-2)
  *recognised, scores = model.decode_scored(outputs)
  np.testing.assert_array_equal(recognised[0], model.decode(outputs)[0])
  assert scores[1] == -np.inf and recognised[1][1] == 0
  log_probs, length = model.frame_log_probs(outputs)
  assert length.numpy().tolist() == [model.frames(6000), 0, model.frames(6000)]
  total = np.exp(log_probs).sum(-1)
  np.testing.assert_allclose(total[[0, 2]], 1, rtol=1e-5)
