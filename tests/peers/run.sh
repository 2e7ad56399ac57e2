#!/bin/sh
# Our programs against v1 peers in another language with an independent WebSocket library, 100 MB each way.
# usage: tests/peers/run.sh [folder of towline-server and towline-agent, target/release unless given]
# Needs python3 with venv, curl, and network access or a pip cache for `websockets`. Ends with 0 only when both agree.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:-$here/../../target/release}" && pwd)
dir=$(mktemp -d)
# Those that run; one that was waited for is gone from here, because its number may be a stranger's by now.
pids=
# $pids is a list: it must split.
# One that still stops may make a file in a folder that is being removed, so each is waited for.
trap 'for pid in $pids; do { kill -9 "$pid"; wait "$pid"; } 2>/dev/null || true; done; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP

say() { printf '%s\n' "peers: $*"; }
fail() {
    say "FAILED: $*"
    for log in "$dir"/*.log; do
        printf -- '--- %s ---\n' "${log##*/}"
        tail -n 40 "$log"
    done
    exit 1
}
# in_log FILE TEXT: waits until FILE has a line with TEXT, at most 20 s.
in_log() {
    tries=200
    until grep -q -- "$2" "$1"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "no '$2' in ${1##*/}"
        sleep 0.1
    done
}
same() { cmp -- "$1" "$2" || fail "$1 and $2 differ"; }

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check websockets
python="$dir/venv/bin/python"
head -c 100000000 /dev/urandom > "$dir/pos.db"
secret='a secret with + and %, 100 % honest'

# 1. A v1 client in Python is pulled from.
mkdir "$dir/server"
(cd "$dir/server" && exec env -i HOST=127.0.0.1 PORT=0 AUTH_SECRET="$secret" UPLOAD_DIR="$dir/downloads" \
    "$bin/towline-server") > "$dir/server.log" 2>&1 &
pids="$pids $!"
in_log "$dir/server.log" 'Server running on port '
port=$(sed -n 's/.*Server running on port \([0-9]*\).*/\1/p' "$dir/server.log")
"$python" "$here/v1_client.py" "ws://127.0.0.1:$port/ws" shop-001 "$secret" "$dir/pos.db" > "$dir/client.log" 2>&1 &
client=$!
others=$pids
pids="$others $client"
tries=200
until curl -sS "http://localhost:$port/clients" -H "x-api-key: $secret" | grep -q '"shop-001"'; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail 'the client is not listed'
    sleep 0.1
done
answer=$(curl -sS -X POST "http://localhost:$port/download/shop-001?wait=120" -H "x-api-key: $secret" \
    -H "Content-Type: application/json" -d '{"fileKey": null}')
case $answer in
    *'"status":"completed"'*) ;;
    *) fail "the pull answered $answer" ;;
esac
told=0
wait "$client" || told=$?
pids=$others
[ "$told" -eq 0 ] || fail 'the client was not told that its file is verified'
set -- "$dir"/downloads/shop-001_*.bin
[ $# -eq 1 ] || fail "$# downloads"
same "$1" "$dir/pos.db"
say 'a v1 client in Python was pulled from: 100 MB, verified'

# 2. The same server gets frames of every kind from the library, and answers each as RFC 6455 has it.
PYTHONWARNINGS=error "$python" "$here/hostile.py" "ws://127.0.0.1:$port/ws" "$secret" > "$dir/hostile.log" 2>&1 || fail 'frames were not answered as they must be'
say "frames: $(tail -n 1 "$dir/hostile.log"), nothing but clean closes"

# 3. Our agent serves a v1 server in Python.
"$python" "$here/v1_server.py" "$secret" "$dir/received" > "$dir/v1-server.log" 2>&1 &
server=$!
pids="$pids $server"
in_log "$dir/v1-server.log" '^port '
port=$(sed -n 's/^port //p' "$dir/v1-server.log")
mkdir "$dir/agent"
(cd "$dir/agent" && exec env -i SERVER_URL="ws://127.0.0.1:$port/ws" CLIENT_ID=shop-002 AUTH_SECRET="$secret" \
    FILE_PATH="$dir/pos.db" TOKEN_IN_URL=true "$bin/towline-agent") > "$dir/agent.log" 2>&1 &
others="$others $!"
pids="$others $server"
got=0
wait "$server" || got=$?
pids=$others
[ "$got" -eq 0 ] || fail 'the v1 server did not get what the agent stated'
same "$dir/received" "$dir/pos.db"
say 'our agent served a v1 server in Python: 100 MB, verified'
