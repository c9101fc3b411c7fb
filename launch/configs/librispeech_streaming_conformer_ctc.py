"""LibriSpeech 960 h on a Cloud TPU v5e-8: streaming Conformer S, CTC, APCC.

Data, buckets, wordpieces and schedule: as in librispeech_conformer_ctc.py.
Model: Conformer S with causal convolution, in chunks of 640 ms that see four
chunks before theirs and nothing after, so that a word is known 640 ms and the
computing of a chunk after it began, at most; bfloat16.
Source: Gulati et al., arXiv 2005.08100 (size and schedule); Chen et al., arXiv
2010.11395 (chunks); chunk sizes are this package's.
Cost and expected result: neither has been measured, no TPU was at hand. More
errors than the same model of whole utterances makes should be expected.

  python -m launch.train \\
    --config=launch/configs/librispeech_streaming_conformer_ctc.py \\
    --tpu=local --workdir=gs://BUCKET/runs/streaming-s-apcc \\
    --config.data.train=gs://BUCKET/records/train-960 \\
    --config.data.validation=gs://BUCKET/records/dev-clean \\
    --config.data.test=gs://BUCKET/records/test-clean
"""

from ml_collections import config_dict

from launch.configs import librispeech_conformer_ctc


def get_config() -> config_dict.ConfigDict:
  config = librispeech_conformer_ctc.get_config()
  config.model.name = "streaming_conformer_ctc"
  config.model.fields = {
    "size": "S",
    "encoder": {"chunk_frames": 16, "left_chunks": 4},
  }
  return config
