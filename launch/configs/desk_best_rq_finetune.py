"""The experiment of desk.py from an encoder that desk_best_rq.py trained.

Data, model, steps: as in desk.py. What it starts from: --config.init_from, by
default the directory that desk_best_rq.py names.
Source: Chiu et al., arXiv 2202.01855, section 4.1.
Cost: 3 minutes on one CPU core (--config.cores=1). Result: 7.8% WER,
with canaries in the training (RESULTS.md, "The other families").

  python -m launch.train --config=launch/configs/desk_best_rq.py \\
    --workdir=runs/desk_best_rq
  python -m launch.train --config=launch/configs/desk_best_rq_finetune.py \\
    --workdir=runs/desk_best_rq_finetune
"""

from ml_collections import config_dict

from launch.configs import desk


def get_config() -> config_dict.ConfigDict:
  config = desk.get_config()
  config.init_from = "runs/desk_best_rq"
  return config
