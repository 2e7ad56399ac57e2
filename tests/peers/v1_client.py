#!/usr/bin/env python3
"""An installed v1 client, written from the wire alone, on the independent `websockets` library.

v1_client.py URL CLIENT_ID SECRET FILE

Connects, registers, answers one download_request with FILE, and ends with 0 when the server says that it
computed the same hash, else with 1.
"""

import hashlib
import json
import os
import sys
import threading
import time
from urllib.parse import urlencode

from websockets.sync.client import connect

HEARTBEAT_SECONDS = 30


def packed(header, payload):
    header = json.dumps(header).encode()
    return len(header).to_bytes(4, "big") + header + payload


def heartbeats(line, ended):
    while not ended.wait(HEARTBEAT_SECONDS):
        line.send(json.dumps({"type": "heartbeat", "ts": int(time.time() * 1000)}))


def upload(line, request, path):
    request_id, chunk_size = request["requestId"], request["chunkSize"]
    name, size = os.path.basename(path), os.path.getsize(path)
    line.send(json.dumps({"type": "upload_start", "requestId": request_id, "filename": name, "filesize": size}))
    digest, seq = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while payload := file.read(chunk_size):
            digest.update(payload)
            seq += 1
            line.send(packed({"requestId": request_id, "seq": seq, "timestamp": int(time.time() * 1000)}, payload))
    end = {"type": "upload_end", "requestId": request_id, "checksum": digest.hexdigest(), "filesize": size}
    line.send(json.dumps(end))
    return digest.hexdigest()


def main():
    url, client_id, secret, path = sys.argv[1:]
    # A v1 client never pings, and answers pings: the library does the latter by itself.
    query = urlencode({"clientId": client_id, "token": secret})
    with connect(f"{url}?{query}", ping_interval=None, compression=None) as line:
        line.send(json.dumps({"type": "register_meta", "meta": {"label": "python"}}))
        ended = threading.Event()
        threading.Thread(target=heartbeats, args=(line, ended), daemon=True).start()
        checksum = None
        for message in line:
            message = json.loads(message)
            print("client heard", message, flush=True)
            if message["type"] == "download_request":
                checksum = upload(line, message, path)
            elif message["type"] == "upload_received":
                ended.set()
                return 0 if message["ok"] is True and message["computed"] == checksum else 1
    print("the line ended before upload_received", file=sys.stderr)
    return 1


sys.exit(main())
