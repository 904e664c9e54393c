"""What do the headers of audio files promise? One family of formats per file; plain bytes, no decoding.

libsndfile decodes what it finds and mostly says nothing when that is not what the header promises, or when more stands
behind it. These parsers read sizes for themselves; `ASDA.audio.integrity` holds them against the file.
"""
