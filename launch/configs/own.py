"""Your own records: the starting point to copy.

Data: directories made by launch.prepare. Model: Conformer CTC, size S, which
wants a TPU or GPU; `--config.model.fields.size=tiny` trains on a laptop.
Source: the sizes are those of arXiv 2005.08100, the rest is this package's.

  python -m launch.train --config=launch/configs/own.py --workdir=runs/own \\
    --config.data.train=data/train --config.data.test=data/test
"""

from ml_collections import config_dict

from launch.configs import base


def get_config() -> config_dict.ConfigDict:
  config = base.get_config()
  config.model.fields = {"size": "S"}
  config.tokenizer.size = 512
  config.steps = 20_000
  config.optimizer.learning_rate = 1e-3
  config.optimizer.beta_2 = 0.999
  config.optimizer.warmup_steps = 2000
  config.data.buckets_seconds = (4.0, 8.0, 12.0, 16.0, 20.0)
  config.log_every = 100
  config.checkpoint_every = 1000
  config.validate_every = 1000
  return config
