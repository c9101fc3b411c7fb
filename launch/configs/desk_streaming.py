"""The experiment of desk.py with a Conformer that transcribes while it listens.

Data: as in desk.py. Model: streaming Conformer CTC, size tiny, in chunks of
320 ms that see four chunks before theirs, wordpieces; the features' statistics
are those of the first training batches. APCC (minimum over the cores).
Source: as in desk.py; the chunks are those of Chen et al., arXiv 2010.11395.
Cost: 3 minutes on one CPU core (--config.cores=1). Result: 3.8% WER,
with canaries in the training (RESULTS.md, "The other families").

  python -m launch.train --config=launch/configs/desk_streaming.py \\
    --workdir=runs/desk_streaming
"""

from ml_collections import config_dict

from launch.configs import desk


def get_config() -> config_dict.ConfigDict:
  config = desk.get_config()
  config.model.name = "streaming_conformer_ctc"
  config.model.fields = {
    **config.model.fields,
    "encoder": {"chunk_frames": 8, "left_chunks": 4},
  }
  return config
