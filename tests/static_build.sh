#!/bin/sh
# The static binaries: static indeed, and an agent that resolves a host name and is pulled from, in an empty root
# folder where we may make one.
# usage: tests/static_build.sh FOLDER BYTES   (of towline, towline-server and towline-agent; what the agent may have)
set -eu

bin=$(cd "$1" && pwd)
dir=$(mktemp -d)
pids=
# $pids is a list: it must split.
trap 'for pid in $pids; do { kill -9 "$pid"; wait "$pid"; } 2>/dev/null || true; done; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
fail() {
    printf 'static build: FAILED: %s\n' "$*"
    cat "$dir"/*.log
    exit 1
}

for name in towline towline-server towline-agent; do
    # ldd ends with 1 for what needs no loader, and says so in words for a static-pie.
    if ldd "$bin/$name" 2>/dev/null | grep -q '=>'; then fail "$name is not static"; fi
    printf 'static build: %s has %s bytes\n' "$name" "$(wc -c < "$bin/$name")"
done

[ "$(wc -c < "$bin/towline-agent")" -le "$2" ] || fail "towline-agent has more than $2 bytes"

mkdir -p "$dir/root/etc" "$dir/server"
printf '127.0.0.1 headquarters.example\n' > "$dir/root/etc/hosts"
cp "$bin/towline-agent" "$dir/root/"
head -c 10000000 /dev/urandom > "$dir/root/pos.db"
secret=correct-horse-battery-staple
(cd "$dir/server" && exec env -i HOST=127.0.0.1 PORT=0 AUTH_SECRET=$secret "$bin/towline-server") > "$dir/server.log" 2>&1 &
pids="$pids $!"
tries=200
until grep -q '^Server running on port ' "$dir/server.log"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail 'the server does not start'
    sleep 0.1
done
port=$(sed -n 's/^Server running on port //p' "$dir/server.log")

chroot=$(command -v chroot || echo /usr/sbin/chroot)
if "$chroot" "$dir/root" /towline-agent --version > "$dir/agent.log" 2>&1; then
    # An empty root folder: no /dev, no /proc, no libraries; names come from /etc/hosts.
    env -i SERVER_URL="ws://headquarters.example:$port/ws" CLIENT_ID=shop-001 AUTH_SECRET=$secret FILE_PATH=/pos.db \
        "$chroot" "$dir/root" /towline-agent > "$dir/agent.log" 2>&1 &
    where='an empty root folder'
else
    env -i SERVER_URL="ws://localhost:$port/ws" CLIENT_ID=shop-001 AUTH_SECRET=$secret FILE_PATH="$dir/root/pos.db" \
        "$bin/towline-agent" > "$dir/agent.log" 2>&1 &
    where='this machine (no chroot for this user)'
fi
pids="$pids $!"
tries=200
until env -i SERVER="http://127.0.0.1:$port" API_KEY=$secret "$bin/towline" clients > "$dir/clients.log" 2>&1 \
    && grep -q shop-001 "$dir/clients.log"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail 'the agent is not listed'
    sleep 0.1
done
env -i SERVER="http://127.0.0.1:$port" API_KEY=$secret "$bin/towline" pull shop-001 --output "$dir/pulled" > "$dir/pull.log" 2>&1 \
    || fail 'the pull did not complete'
cmp "$dir/pulled" "$dir/root/pos.db" || fail 'the file differs'
printf 'static build: the agent resolved a name and was pulled from, in %s\n' "$where"
