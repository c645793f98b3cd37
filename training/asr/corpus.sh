#!/bin/sh
# The whole corpus: sh training/asr/corpus.sh OUT HOURS_CHEAP HOURS_KOKORO. Interrupted, it goes on where it was.
# One run at a time.
set -eu
out=$1 cheap=$2 kokoro=$3
python=${PYTHON:-.venv/bin/python}
export OMP_NUM_THREADS=1
# Sentences differ in length, and oneDNN keeps code for each length: 2.1 GB after 30 sentences, with these limits 1.0.
export ONEDNN_PRIMITIVE_CACHE_CAPACITY=16 LRU_CACHE_CAPACITY=16
test -e "$out/texts.jsonl" || $python -m training.asr.texts "$out/texts.jsonl"
say() { test -e "$out/STOP" || $python -m training.asr.synthesise "$out/texts.jsonl" "$out" "$@"; }
say --engines flite,festival,espeak,piper --hours "$cheap" &
say --engines kokoro --hours 9 --split heldout --utterances 250 --processes 1
say --engines flite --hours 9 --split heldout --utterances 50 --processes 1
say --engines kokoro --hours 9 --split dev --utterances 140 --processes 1
for engine in flite festival piper; do
    say --engines "$engine" --hours 9 --split dev --utterances 20 --processes 1
done
wait
say --engines kokoro --hours "$kokoro"
