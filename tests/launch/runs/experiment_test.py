"""From a config's fields to clipping, schedule and optimizer."""

import math

import keras
import numpy as np
import pytest

import tf_pcc
from launch.runs import experiment, fused_adam


@pytest.mark.parametrize(
  ("fields", "expected"),
  [
    ({"method": "none"}, None),
    ({"method": "pcc", "bound": 3.0}, {"bound": tf_pcc.FixedBound(3.0)}),
    ({"method": "apcc", "bound": math.nan}, {"bound": tf_pcc.MinBound()}),
    (
      {"method": "batch", "bound": 3.0},
      {"bound": tf_pcc.FixedBound(math.inf), "batch_clip_norm": 3.0},
    ),
    (
      {"method": "apcc", "batch_clip_norm": 4.0, "dead_cores": "live"},
      {"batch_clip_norm": 4.0, "dead_cores": "live"},
    ),
    (
      {"method": "running", "decay": 0.5, "statistic": "quantile"},
      {"bound": tf_pcc.RunningBound(0.5, "quantile", 0.5)},
    ),
    ({"method": "per_example"}, {"microbatches": 6}),
    ({"method": "pcc", "microbatches": 3}, {"microbatches": 3}),
    ({"method": "pcc", "track_cosine": True}, {"track_cosine": True}),
    ({"method": "apcc"}, {"normalize": "auto"}),
    ({"method": "apcc", "normalize": "true"}, {"normalize": True}),
    ({"method": "pcc", "normalize": "True"}, {"normalize": True}),
    ({"method": "running", "normalize": "False"}, {"normalize": False}),
    ({"method": "batch", "normalize": "false"}, {"normalize": False}),
  ],
)
def test_methods(make_config, fields, expected):
  found = experiment.make_clipping(make_config(clipping=fields), 6)
  if expected is None:
    assert found is None
    return
  for name, value in expected.items():
    assert repr(getattr(found, name)) == repr(value)


@pytest.mark.parametrize(
  ("method", "normalize"),
  [("apcc", "on"), ("none", "true"), ("batch", "True"), ("none", "")],
)
def test_bad_normalize(make_config, method, normalize):
  config = make_config(clipping={"method": method, "normalize": normalize})
  with pytest.raises(
    ValueError, match=f"Received: clipping.normalize='{normalize}'$"
  ):
    experiment.make_clipping(config, 6)


def test_optimizer_arguments_reach_keras(make_config):
  config = make_config(optimizer={"name": "adamw"})
  config.optimizer.arguments = {"weight_decay": 0.25, "beta_1": 0.8}
  optimizer = experiment.make_optimizer(config)
  assert (optimizer.weight_decay, optimizer.beta_1) == (0.25, 0.8)


@pytest.mark.parametrize("name", ["adam", "AdamW", "nadam", "adamax"])
def test_beta_2_is_a_field(make_config, name):
  config = make_config(optimizer={"name": name, "beta_2": 0.75})
  assert experiment.make_optimizer(config).beta_2 == 0.75
  config.optimizer.arguments = {"beta_2": 0.9}
  with pytest.raises(ValueError, match=r"arguments\.beta_2=0\.9$"):
    experiment.make_optimizer(config)


def test_beta_2_of_lion_is_another_thing(make_config):
  config = make_config(optimizer={"name": "lion", "beta_2": 0.75})
  assert experiment.make_optimizer(config).beta_2 == 0.99
  config.optimizer.arguments = {"beta_2": 0.9}
  assert experiment.make_optimizer(config).beta_2 == 0.9


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, math.nan])
def test_bad_beta_2(make_config, value):
  config = make_config(optimizer={"beta_2": value})
  with pytest.raises(ValueError, match=f"Received: optimizer.beta_2={value}$"):
    experiment.check_fields(config)


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("clipnorm", 1.0),
    ("global_clipnorm", 1.0),
    ("clipvalue", 1.0),
    ("gradient_accumulation_steps", 2),
    ("loss_scale_factor", 8.0),
  ],
)
@pytest.mark.parametrize("method", ["none", "apcc"])
def test_a_second_clipping_is_refused(make_config, method, name, value):
  """With method none, too: Keras would clip each core behind its back."""
  config = make_config(clipping={"method": method})
  config.optimizer.arguments = {name: value}
  with pytest.raises(ValueError, match=f"optimizer.arguments.{name}={value}"):
    experiment.make_optimizer(config)


def test_one_seed_gives_one_network(make_config):
  first, same, other = (
    experiment.make_model(make_config(seed=seed), 5).get_weights()
    for seed in (1, 1, 2)
  )
  for a, b in zip(first, same):
    np.testing.assert_array_equal(a, b)
  assert any(np.any(a != b) for a, b in zip(first, other))


def test_features_take_the_rate_of_the_records(make_config):
  config = make_config()
  config.model.fields["features"] = {"mels": 16, "sample_rate": 8000}
  with pytest.raises(ValueError, match=r"must be 16000.*sample_rate=8000$"):
    experiment.make_model(config, 5)
  config.model.fields["features"]["sample_rate"] = 16000
  assert experiment.make_model(config, 5).log_mel.sample_rate == 16000


def test_adam_is_the_fused_one(make_config):
  """Adam's kin, such as AdamW, stay as they are."""
  found = experiment.make_optimizer(
    make_config(optimizer={"name": "adam", "beta_2": 0.98})
  )
  assert type(found) is fused_adam.FusedAdam and found.beta_2 == 0.98
  other = experiment.make_optimizer(make_config(optimizer={"name": "adamw"}))
  assert type(other) is keras.optimizers.AdamW
