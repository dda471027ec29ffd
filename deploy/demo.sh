#!/usr/bin/env bash
# The main job, start to end, on MovieLens-100k: train, distil, push, promote, recommend, and swap versions under load.
# Run by `make demo`, which builds the programs and sets BIN, DATA and the variables of `deploy/bootstrap.sh env`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

: "${BIN:?the folder of the built programs; run this through \`make demo\`}"
: "${DATA:?the folder to keep models in; run this through \`make demo\`}"
: "${DECANT_DATASETS:?run this through \`make demo\`}"
readonly movielens="$DECANT_DATASETS/ml-100k"
readonly examples=deploy/examples/movielens
readonly user=${DEMO_USER:-13}

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
decant() { "$BIN/decant" "$@"; }

# The value of a key in the JSON on standard input, by a Python expression over `value`.
pick() { python3 -c 'import json, sys; value = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

mkdir -p "$DATA"
step "1. Start all of Decant in one process (log: $DATA/standalone.log)"
started=$(date +%s%N)
"$BIN/decant-standalone" --data "$DATA" --datasets "$DECANT_DATASETS" 2>"$DATA/standalone.log" &
standalone=$!
stop() {
  kill -TERM "$standalone" 2>/dev/null || true
  wait "$standalone" 2>/dev/null || true
}
trap stop EXIT
until decant status >/dev/null 2>&1; do
  if ! kill -0 "$standalone" 2>/dev/null; then
    echo "decant-standalone did not start:" >&2
    tail -n 20 "$DATA/standalone.log" >&2
    exit 1
  fi
  if (($(date +%s%N) - started > 30000000000)); then
    echo "decant-standalone was not healthy within 30 s; see $DATA/standalone.log" >&2
    exit 1
  fi
  sleep 0.05
done
printf 'healthy after %d ms\n' $((($(date +%s%N) - started) / 1000000))
decant status

step "2. Train teachers and distil two students: decant train submit $examples/job.toml --watch"
echo "3. The quality table follows when the job has ended."
decant train submit "$examples/job.toml" --watch

# The job has pushed its teacher, then two students; in a data folder that an earlier demo used they are not 1 to 3.
versions=$(decant -o json version list movielens)
first=$(pick 'sorted(int(v["version"]) for v in value)[-2]' <<<"$versions")
second=$(pick 'max(int(v["version"]) for v in value)' <<<"$versions")

step "4. Promote version $first and recommend films to user $user"
decant slot set movielens "$first" --reason "demo: the first student"
query=$(awk -F'\t' -v user="$user" \
  '$1 == user { printf "user_id=\"%s\",age=%s,gender=%s,occupation=%s", $1, $2, $3, $4 }' "$movielens/ml-100k.user")
awk -F'\t' -v user="$user" '$1 == user { print $2 }' "$movielens/ml-100k.inter" >"$DATA/seen.txt"
echo "User $user has rated $(wc -l <"$DATA/seen.txt") films; some of those rated 5:"
awk -F'\t' -v user="$user" '
  NR == FNR { title[$1] = $2 " (" $3 ")"; next }
  $1 == user && $3 == 5 && shown < 8 { print "  " title[$2]; shown++ }' \
  "$movielens/ml-100k.item" "$movielens/ml-100k.inter"
echo
echo "Films that user $user has not rated, best first:"
decant recommend movielens --query "$query" --top 10 --exclude-file "$DATA/seen.txt" --show title,year

step "5. Promote version $second under a load of concurrent Score and Rank calls"
python3 "$examples/requests.py" "$movielens" 200 >"$DATA/calls.jsonl"
"$BIN/decant-load" "$DATA/calls.jsonl" --model movielens --rate 400 --seconds 9 --promote "$second"
decant scorer servables

step "6. Next"
cat <<TEXT
  make up                                    keep these models running (then, in another terminal:)
  $BIN/decant version describe movielens $second
  $BIN/decant slot set movielens $first     roll back; the version is still warm
TEXT
