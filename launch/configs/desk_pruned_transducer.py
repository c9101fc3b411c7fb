"""The experiment of desk_transducer.py with the pruned loss.

Data and model: as in desk_transducer.py. Loss: of five columns of the lattice
in each frame, chosen by an additive joint network whose loss is trained with
it. Error rates are those of the real joint network, and losses that are
reported count all paths.
Result: 3.4% WER with --config.cores=1, one seed (RESULTS.md, "What the fused
transducer loss saves").
Source: Kuang et al., Interspeech 2022, arXiv 2206.13236.

  python -m launch.train --config=launch/configs/desk_pruned_transducer.py \\
    --workdir=runs/desk_pruned_transducer
"""

from ml_collections import config_dict

from launch.configs import desk_transducer


def get_config() -> config_dict.ConfigDict:
  config = desk_transducer.get_config()
  config.model.fields = {
    **config.model.fields,
    "loss": "pruned",
    # The defaults, to be changed on the command line.
    "pruning": {
      "window": 5,
      "simple_scale": 0.5,
      "lm_only_scale": 0.25,
      "am_only_scale": 0.0,
      "warmup_steps": 0,
    },
  }
  return config
