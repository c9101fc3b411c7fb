"""Pre-training on the sound of the desk corpus, without its transcripts.

Data: the sound of desk.py. Model: BEST-RQ, size tiny, 512 codes; the end tells
the share of masked frames whose code is told right. APCC (minimum over the
cores). desk_best_rq_finetune.py makes a recogniser of it.
Source: Chiu et al., arXiv 2202.01855; sizes and rates are this package's: fewer
codes for fewer sounds, and spans of 200 ms, since sentences last 2 s.

  python -m launch.train --config=launch/configs/desk_best_rq.py \\
    --workdir=runs/desk_best_rq
"""

from ml_collections import config_dict

from launch.configs import desk


def get_config() -> config_dict.ConfigDict:
  config = desk.get_config()
  config.model.name = "best_rq"
  config.model.fields = {
    "size": "tiny",
    "codebook_size": 512,
    "mask_probability": 0.02,
    "mask_ms": 200.0,
  }
  return config
