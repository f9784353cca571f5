#!/usr/bin/env bash
# The shortest worker: takes messages from a queue, one at a time, until nothing comes for two seconds.
#
#   curl.sh [URL]          a host at URL, by default http://127.0.0.1:7400
#
# Needs curl and jq.
set -euo pipefail
url=${1:-http://127.0.0.1:7400}/api

post() { curl -sS --fail-with-body -H 'content-type: application/json' -d "$2" "$url$1"; }

curl -sS --fail-with-body -X PUT -H 'content-type: application/json' -d '{"kind":"ephemeral"}' \
  "$url/event-streams/thumbnails/config" >/dev/null
post /queues/thumbnails/messages '[{"type":"image.added","data":{"file":"a.png"}},{"type":"image.added","data":{"file":"b.png"}}]'
echo

while true; do
  taken=$(post /queues/thumbnails/dequeue '{"consumer":"shell-1","waitMs":2000}')
  token=$(jq '.messages[0].token // empty' <<<"$taken")
  [ -n "$token" ] || break
  echo "working on $(jq -r '.messages[0].event.data.file' <<<"$taken")"
  post /queues/thumbnails/ack "{\"consumer\":\"shell-1\",\"tokens\":[$token]}"
  echo
done
