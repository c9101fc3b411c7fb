"""Speech in: corpora, audio, records, batches, tokenizers, synthetic speech.

The way of one utterance: `corpora` finds it, `audio` decodes it, `records`
stores it, `text` turns its transcript into labels, `batching` puts it in a
batch. `tts` and `synthetic` make utterances where there is no corpus.
"""
