"""Learns a tokenizer's vocabulary from a corpus, records or a text file.

  python -m launch.vocabulary --corpus=LibriSpeech/train-clean-100 \\
    --kind=wordpiece --size=256 --output=data/wordpieces-256.json

A `.txt` file is taken as transcripts: one a line, after an utterance id if
`--ids` is given (LibriSpeech's own form).
"""

from collections.abc import Sequence

from absl import flags

from launch import cli
from launch.runs import datasets
from tf_pcc.data import normalizers, text
from tf_pcc.data.manifests import Reading

_CORPUS = flags.DEFINE_string(
  "corpus",
  None,
  "Corpus (see launch.prepare), records directory, or .txt file.",
)
_KIND = flags.DEFINE_enum(
  "kind",
  "wordpiece",
  ["character", "word", "wordpiece", "sentencepiece"],
  "What the labels are.",
)
_SIZE = flags.DEFINE_integer(
  "size", None, "Number of labels, the blank included, for the -piece kinds."
)
_OUTPUT = flags.DEFINE_string("output", None, "File to write (JSON).")
_NORMALIZER = cli.normalizer_flag()
_OUTSIDE = cli.allow_outside_flag()
_IDS = flags.DEFINE_bool("ids", False, "Lines of a .txt begin with an id.")


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  name = _NORMALIZER.value or "upper"
  normalize = normalizers.get(name)
  # As they are written, so that it can be told what the normalizer leaves out.
  reading = Reading(normalizers.none, _OUTSIDE.value)
  texts, dropped = [], normalizers.Dropped()
  for written in datasets.read_texts(cli.given(_CORPUS), _IDS.value, reading):
    texts.append(normalize(written))
    dropped.add("", written, texts[-1])
  tokenizer = text.build_tokenizer(_KIND.value, texts, _SIZE.value)
  tokenizer.save(cli.given(_OUTPUT))
  labels = sum(map(len, tokenizer.encode_batch(texts)))
  words = sum(len(line.split()) for line in texts)
  print(
    f"{tokenizer.vocab_size} labels with the blank, from {len(texts)} texts; "
    f"{labels / words:.2f} labels a word: {cli.given(_OUTPUT)}"
  )
  if dropped.counts:
    print(f"the normalizer {name} left out or changed: {dropped}")
  if advice := dropped.advice(name):
    print(advice)


if __name__ == "__main__":
  cli.run("launch.vocabulary", main, required=["corpus", "output"])
