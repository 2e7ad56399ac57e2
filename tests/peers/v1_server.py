#!/usr/bin/env python3
"""An installed v1 server, written from the wire alone, on the independent `websockets` library.

v1_server.py SECRET OUT

Listens on a free port and prints `port N`; takes one client, asks for its FILE_PATH, writes what comes to OUT,
and ends with 0 when size and hash are what the client stated, else with 1.
"""

import asyncio
import hashlib
import json
import sys
from datetime import datetime, timezone
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve

REQUEST_ID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


def unpacked(message):
    length = int.from_bytes(message[:4], "big")
    return json.loads(message[4 : 4 + length]), message[4 + length :]


async def receive(line, out):
    digest, size, seq, start = hashlib.sha256(), 0, 0, None
    with open(out, "wb") as file:
        async for message in line:
            if isinstance(message, bytes):
                header, payload = unpacked(message)
                seq += 1
                assert header["requestId"] == REQUEST_ID and header["seq"] == seq, header
                assert isinstance(header["timestamp"], int), header
                digest.update(payload)
                size += len(payload)
                file.write(payload)
                continue
            message = json.loads(message)
            print("server heard", message, flush=True)
            if message["type"] == "upload_start":
                start = message
            elif message["type"] == "upload_end":
                computed = digest.hexdigest()
                receipt = {"type": "upload_received", "requestId": REQUEST_ID, "computed": computed, "ok": True}
                await line.send(json.dumps(receipt))
                same_size = size == start["filesize"] == message["filesize"]
                return same_size and computed == message["checksum"]
            elif message["type"] == "error":
                return False
    return False


async def main():
    secret, out = sys.argv[1:]
    result = asyncio.get_running_loop().create_future()

    async def client(line):
        query = parse_qs(urlsplit(line.request.path).query)
        if query.get("token") != [secret] or not query.get("clientId"):
            await line.close(4001, "unauthorized")
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await line.send(json.dumps({"type": "hello", "serverTime": now}))
        meta = json.loads(await line.recv())
        assert meta["type"] == "register_meta" and isinstance(meta["meta"], dict), meta
        request = {"type": "download_request", "requestId": REQUEST_ID, "fileKey": None, "chunkSize": 65536}
        await line.send(json.dumps(request))
        try:
            result.set_result(await receive(line, out))
        except Exception as error:
            result.set_exception(error)

    # A v1 server never pings; any message size passes.
    async with serve(client, "127.0.0.1", 0, ping_interval=None, compression=None, max_size=None) as server:
        print("port", server.sockets[0].getsockname()[1], flush=True)
        return 0 if await asyncio.wait_for(result, 120) else 1


sys.exit(asyncio.run(main()))
