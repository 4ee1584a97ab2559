"""Calls EchoService by grpcio, and says of each case whether what the client sees is right.

Standard input: a JSON list of ways to a server, each
{"way", "target", "authority", "proxy": null or {"variable", "url"},
"tls": null or {"trusted", "certificate", "key"}, "cases": [names]}.
Standard output: for each case of each way a line {"way", "case", "wrong": null or what is wrong}.
"""

import asyncio
import json
import os
import sys
import traceback

import grpc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
echo, services = grpc.protos_and_services("echo.proto")

# A case that takes longer hangs. All are played at the same time, hundreds of them, maybe on a slow and busy machine.
PATIENCE_S = 120
MESSAGE_BYTES_MAX = 64 << 20
LARGE_BYTES = 3 << 20
NOBODY = b"\0\xff\x80nobody"


def same(seen, meant):
    assert seen == meant, f"{str(seen)[:300]} instead of {str(meant)[:300]}"


class Way:
    """A way to a server: a channel, and names of calls that no other case uses."""

    names = 0

    def __init__(self, way):
        self.description = way
        # The variables count when a channel is made, and for that channel only.
        for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
            os.environ.pop(variable, None)
        proxy = way["proxy"]
        if proxy:
            os.environ[proxy["variable"]] = proxy["url"]
        options = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if not proxy:
            options.append(("grpc.default_authority", way["authority"]))
        if tls := way["tls"]:
            if not proxy:
                options.append(("grpc.ssl_target_name_override", way["authority"]))
            credentials = grpc.ssl_channel_credentials(
                *(tls[part].encode() for part in ("trusted", "key", "certificate"))
            )
            self.channel = grpc.aio.secure_channel(way["target"], credentials, options=options)
        else:
            self.channel = grpc.aio.insecure_channel(way["target"], options=options)
        self.stub = services.EchoServiceStub(self.channel)

    def name(self):
        Way.names += 1
        return f"{os.getpid()}-{Way.names}"

    async def begun(self, id):
        await self.stub.Watch(echo.WatchRequest(id=id))

    async def assert_cancelled(self, id):
        same((await self.stub.Watch(echo.WatchRequest(id=id, ended=True))).cancelled, True)


async def failure(call):
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details()
    return "OK", ""


async def empty_unary(way):
    same((await way.stub.Unary(echo.EchoRequest())).payload, b"")


async def large_unary(way):
    payload = os.urandom(LARGE_BYTES)
    reply = await way.stub.Unary(echo.EchoRequest(payload=payload))
    assert reply.payload == payload, f"{len(reply.payload)} other bytes came back"


async def client_streaming(way):
    requests = [echo.EchoRequest(payload=b"x" * size) for size in (1, 0, 70_000)]
    reply = await way.stub.ClientStream(iter(requests))
    same((reply.requests, reply.request_bytes), (3, 70_001))


async def empty_client_stream(way):
    same((await way.stub.ClientStream(iter([]))).requests, 0)


async def server_streaming(way):
    replies = way.stub.ServerStream(echo.EchoRequest(payload=b"x", replies=50))
    same([reply.payload async for reply in replies], [b"x"] * 50)


async def empty_server_stream(way):
    same([reply async for reply in way.stub.ServerStream(echo.EchoRequest())], [])


async def bidi_streaming(way):
    call = way.stub.Bidi()
    for turn in range(1, 21):
        await call.write(echo.EchoRequest(payload=b"%d" % turn))
        reply = await call.read()
        same((reply.payload, reply.requests), (b"%d" % turn, turn))
    await call.done_writing()
    same(await call.read(), grpc.aio.EOF)
    same(await call.code(), grpc.StatusCode.OK)


async def empty_bidi_stream(way):
    call = way.stub.Bidi()
    await call.done_writing()
    same(await call.read(), grpc.aio.EOF)
    same(await call.code(), grpc.StatusCode.OK)


async def deadline(way):
    # The shortest that lets the call reach the server, however busy the machine is.
    for timeout in (0.2, 1, 5, 20):
        id = way.name()
        call = way.stub.ServerStream(echo.EchoRequest(id=id, replies=1, hold=True), timeout=timeout)
        has_begun = (await failure(call.read()))[0] == "OK"
        same((await failure(call.read()))[0], "DEADLINE_EXCEEDED")
        if has_begun:
            return await way.assert_cancelled(id)


async def deadline_as_the_server_sees_it(way):
    reply = await way.stub.Unary(echo.EchoRequest(), timeout=600)
    assert 300_000 < reply.time_left_ms <= 600_000, reply.time_left_ms


async def no_deadline(way):
    same((await way.stub.Unary(echo.EchoRequest(), timeout=None)).time_left_ms, 0)


async def cancel_before_the_answer(way):
    id = way.name()
    call = way.stub.Unary(echo.EchoRequest(id=id, hold=True))
    await way.begun(id)
    call.cancel()
    same(await call.code(), grpc.StatusCode.CANCELLED)
    await way.assert_cancelled(id)


async def cancel_after_an_answer(way):
    id = way.name()
    call = way.stub.ServerStream(echo.EchoRequest(id=id, replies=1, hold=True))
    assert await call.read() is not grpc.aio.EOF
    call.cancel()
    same(await call.code(), grpc.StatusCode.CANCELLED)
    await way.assert_cancelled(id)


async def status_and_message(way):
    message = "kein Käse: 100% weg €\n\U0001f600"
    call = way.stub.Unary(echo.EchoRequest(fail_code=5, fail_message=message))
    same(await failure(call), ("NOT_FOUND", message))


async def status_after_answers(way):
    call = way.stub.ServerStream(echo.EchoRequest(replies=2, fail_code=9, fail_message="später"))
    replies = [await call.read(), await call.read()]
    assert grpc.aio.EOF not in replies
    same(await failure(call.read()), ("FAILED_PRECONDITION", "später"))


async def metadata(way):
    sent = [("x-echo-a", "one"), ("x-echo-b-bin", NOBODY), ("x-echo-a", "two, three")]
    call = way.stub.Unary(echo.EchoRequest(), metadata=sent)
    for prefix, seen in (("x-echo-", await call.initial_metadata()), ("x-trailer-", await call.trailing_metadata())):
        seen = [(key, value) for key, value in seen if key.startswith(prefix)]
        # Node joins what is repeated with commas.
        same(", ".join(value for key, value in seen if key == prefix + "a"), "one, two, three")
        same([value for key, value in seen if key == prefix + "b-bin"], [NOBODY])


async def metadata_of_a_failure(way):
    call = way.stub.Unary(echo.EchoRequest(fail_code=7), metadata=[("x-echo-why-bin", NOBODY)])
    same((await failure(call))[0], "PERMISSION_DENIED")
    same([value for key, value in await call.trailing_metadata() if key == "x-trailer-why-bin"], [NOBODY])


async def unknown_method(way):
    same((await failure(way.stub.Unserved(echo.EchoRequest())))[0], "UNIMPLEMENTED")


async def unknown_rpc_service(way):
    same((await failure(way.channel.unary_unary("/mesher.peers.Nobody/Unary")(b"")))[0], "UNIMPLEMENTED")


async def compressed(way):
    payload = b"again and again " * 10_000
    reply = await way.stub.Unary(echo.EchoRequest(payload=payload), compression=grpc.Compression.Gzip)
    same(reply.payload, payload)


async def calls_over_short_connections(way):
    # The server ends each connection after 200 ms, with GOAWAY.
    end = asyncio.get_running_loop().time() + 0.6
    while asyncio.get_running_loop().time() < end:
        replies = await asyncio.gather(*(way.stub.Unary(echo.EchoRequest(payload=b"x")) for _ in range(4)))
        same([reply.payload for reply in replies], [b"x"] * 4)


async def unavailable(way):
    code, message = await failure(way.stub.Unary(echo.EchoRequest()))
    same(code, "UNAVAILABLE")
    assert message, "no message says why"


async def run(way, case):
    try:
        await asyncio.wait_for(globals()[case](way), PATIENCE_S)
    except Exception:
        return traceback.format_exc()


async def play(way, case):
    wrong = await run(way, case)
    print(json.dumps({"way": way.description["way"], "case": case, "wrong": wrong}), flush=True)


async def main():
    ways = [Way(description) for description in json.load(sys.stdin)]
    await asyncio.gather(*(play(way, case) for way in ways for case in way.description["cases"]))
    for way in ways:
        await way.channel.close()


asyncio.run(main())
