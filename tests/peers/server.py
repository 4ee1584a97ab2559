"""EchoService by grpcio.

Standard input: a line {"connection_age_ms_max": null or a number, "tls": {"trusted", "certificate", "key"}}; its end
ends the server. Standard output: two ports in one line, in the clear and over TLS.
"""

import asyncio
import json
import os
import sys

import grpc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
echo, services = grpc.protos_and_services("echo.proto")

ECHOED = "x-echo-"
MESSAGE_BYTES_MAX = 64 << 20


class Call:
    """What Watch tells of one call."""

    def __init__(self):
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = False


class EchoService(services.EchoServiceServicer):
    def __init__(self):
        self.calls = {}

    def call(self, id):
        return self.calls.setdefault(id, Call())

    async def Unary(self, request, context):
        return await self.watched(request.id, self.answer(request, context))

    async def answer(self, request, context):
        reply = reply_to(request, context, 1, len(request.payload))
        await begin(context)
        if request.hold:
            await asyncio.Event().wait()
        await finish(request, context)
        return reply

    async def ClientStream(self, requests, context):
        first = await anext(aiter(requests), None)
        return await self.watched(first.id if first else "", self.count(first, requests, context))

    async def count(self, request, requests, context):
        last = request or echo.EchoRequest()
        count = size = 0
        await begin(context)
        while request is not None:
            count, size, last = count + 1, size + len(request.payload), request
            request = await anext(aiter(requests), None)
        if last.hold:
            await asyncio.Event().wait()
        await finish(last, context)
        return reply_to(last, context, count, size)

    async def ServerStream(self, request, context):
        await self.watched(request.id, self.stream(request, context))

    async def stream(self, request, context):
        await begin(context)
        for _ in range(request.replies):
            await context.write(reply_to(request, context, 1, len(request.payload)))
        if request.hold:
            await asyncio.Event().wait()
        await finish(request, context)

    async def Bidi(self, requests, context):
        first = await anext(aiter(requests), None)
        await self.watched(first.id if first else "", self.converse(first, requests, context))

    async def converse(self, request, requests, context):
        last = request or echo.EchoRequest()
        count = size = 0
        await begin(context)
        while request is not None:
            count, size, last = count + 1, size + len(request.payload), request
            await context.write(reply_to(request, context, count, size))
            if request.hold:
                await asyncio.Event().wait()
            request = await anext(aiter(requests), None)
        await finish(last, context)

    async def Watch(self, request, context):
        call = self.call(request.id)
        await (call.ended if request.ended else call.begun).wait()
        return echo.WatchReply(cancelled=call.cancelled)

    async def watched(self, id, coroutine):
        call = self.call(id)
        call.begun.set()
        try:
            return await coroutine
        except asyncio.CancelledError:
            call.cancelled = True
            raise
        finally:
            call.ended.set()


def echoed(context, prefix):
    metadata = context.invocation_metadata() or ()
    return tuple((prefix + key[len(ECHOED):], value) for key, value in metadata if key.startswith(ECHOED))


def reply_to(request, context, requests, request_bytes):
    left = context.time_remaining()
    return echo.EchoReply(
        payload=bytes(request.reply_bytes) or request.payload,
        requests=requests,
        request_bytes=request_bytes,
        time_left_ms=0 if left is None else max(1, int(left * 1000)),
    )


async def begin(context):
    """Sends metadata first, if there is any to send; an error without any is then a single block of fields."""
    if metadata := echoed(context, ECHOED):
        await context.send_initial_metadata(metadata)


async def finish(request, context):
    context.set_trailing_metadata(echoed(context, "x-trailer-"))
    if request.fail_code:
        await context.abort(
            CODES[request.fail_code], request.fail_message, echoed(context, "x-trailer-")
        )


CODES = {code.value[0]: code for code in grpc.StatusCode}


async def main():
    asked = json.loads(sys.stdin.readline())
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    if asked["connection_age_ms_max"]:
        options.append(("grpc.max_connection_age_ms", asked["connection_age_ms_max"]))
    server = grpc.aio.server(options=options)
    services.add_EchoServiceServicer_to_server(EchoService(), server)
    trusted, certificate, key = (asked["tls"][part].encode() for part in ("trusted", "certificate", "key"))
    credentials = grpc.ssl_server_credentials([(key, certificate)], trusted, require_client_auth=True)
    ports = server.add_insecure_port("127.0.0.1:0"), server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(*ports, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


asyncio.run(main())
