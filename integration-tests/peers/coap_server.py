"""A CoAP server on aiocoap; `coap_server.py PORT` serves 127.0.0.1 and prints `serving`.

    /value    GET PUT POST(appends) DELETE; keeps the format, ETag, Accept -> 4.06, If-None-Match
    /count    observable; `count TEXT` on standard input changes it, `max-age N` its Max-Age
    /slow     answers separately, after `release` on standard input
    /error    ?4.03 answers with that code and a diagnostic
    /big      ?N has N bytes and an ETag
    /moving   the same, and `moving N` on standard input makes it change in the middle of N readings
    /swarm    observable, of 3,000 bytes; `swarm X` fills it with X
    /upload   PUT and POST of any size, answers with length and digest; told on standard output
    /place    POST answers 2.01 with Location-Path a/b
    /tight    PUT in blocks of at most 64 bytes: larger ones are refused with 4.13 and that size
    /closed   PUT of more than 256 bytes is refused, whatever the blocks
    /odd      answers with a critical option that nobody knows
Told on standard output: `METHOD /path` of each request, `observers N`.
"""
import asyncio
import hashlib
import sys

import aiocoap
from aiocoap import Code, Message, resource
from aiocoap.numbers import OptionNumber
from aiocoap.optiontypes import BlockOption, OpaqueOption


def say(text):
    print(text, flush=True)


def digest(body):
    return hashlib.sha256(body).hexdigest()[:16]


class Site(resource.Site):
    """Requests are told."""

    async def render_to_pipe(self, pipe):
        request = pipe.request
        say(f"{request.code} /{'/'.join(request.opt.uri_path)} observe={request.opt.observe}")
        await super().render_to_pipe(pipe)


class Value(resource.Resource):
    def __init__(self):
        super().__init__()
        self.body, self.format = None, None

    async def render_get(self, request):
        if self.body is None:
            return Message(code=Code.NOT_FOUND)
        if request.opt.accept not in (None, self.format):
            return Message(code=Code.NOT_ACCEPTABLE, payload=b"only as it was put")
        etag = hashlib.sha256(self.body).digest()[:8]
        if etag in request.opt.etags:
            return Message(code=Code.VALID, etag=etag)
        return Message(payload=self.body, content_format=self.format, etag=etag, max_age=7)

    async def render_put(self, request):
        created = self.body is None
        if request.opt.if_none_match and not created:
            return Message(code=Code.PRECONDITION_FAILED)
        self.body, self.format = request.payload, request.opt.content_format
        return Message(code=Code.CREATED if created else Code.CHANGED)

    async def render_post(self, request):
        self.body = (self.body or b"") + request.payload
        return Message(code=Code.CHANGED, payload=b"%d bytes" % len(self.body))

    async def render_delete(self, request):
        self.body = None
        return Message(code=Code.DELETED)


class Observable(resource.ObservableResource):
    def __init__(self, text, times=1):
        super().__init__()
        self.text, self.times, self.max_age = text, times, None

    def update_observation_count(self, newcount):
        say(f"observers {newcount}")

    def change(self, text):
        self.text = text
        self.updated_state()

    async def render_get(self, request):
        body = self.text.encode() * self.times
        etag = hashlib.sha256(body).digest()[:4] if self.times > 1 else None
        message = Message(payload=body, etag=etag)
        message.opt.max_age = self.max_age
        return message


class Slow(resource.Resource):
    def __init__(self):
        super().__init__()
        self.released = asyncio.Event()

    async def render_get(self, request):
        await self.released.wait()
        return Message(payload=b"late")

    async def render_put(self, request):
        await self.released.wait()
        return Message(code=Code.CHANGED)


class Failing(resource.Resource):
    async def render_get(self, request):
        major, minor = request.opt.uri_query[0].split(".")
        return Message(code=Code(int(major) << 5 | int(minor)), payload=b"because")


class Big(resource.Resource):
    def __init__(self):
        super().__init__()
        self.seed = 0

    async def render_get(self, request):
        size = int(request.opt.uri_query[0])
        body = b"".join(b"%d.%d " % (self.seed, number) for number in range(size))[:size]
        return Message(payload=body, etag=hashlib.sha256(body).digest()[:8])


class Moving(Big):
    """No assembly: the representation changes behind the second block of the first attempts."""

    def __init__(self):
        super().__init__()
        self.left = 0

    async def needs_blockwise_assembly(self, request):
        return False

    async def render_get(self, request):
        block = request.opt.block2 or BlockOption.BlockwiseTuple(0, False, 6)
        if block.block_number == 2 and self.left > 0:
            self.left -= 1
            self.seed += 1
        whole = await super().render_get(request)
        start = block.block_number * block.size
        part = Message(payload=whole.payload[start:start + block.size], etag=whole.opt.etag)
        part.opt.block2 = (block.block_number, start + block.size < len(whole.payload), block.size_exponent)
        return part


class Upload(resource.Resource):
    async def render_put(self, request):
        text = f"{len(request.payload)} bytes {digest(request.payload)}"
        format = request.opt.content_format
        say(f"upload {text} format={None if format is None else int(format)}")
        return Message(code=Code.CHANGED, payload=text.encode())

    async def render_post(self, request):
        """The answer is as large as the question."""
        return Message(code=Code.CHANGED, payload=request.payload)


class Place(resource.Resource):
    async def render_post(self, request):
        return Message(code=Code.CREATED, location_path=("a", "b"))


class Tight(resource.Resource):
    SIZE = 2  # 64 bytes

    def __init__(self):
        super().__init__()
        self.body = b""

    async def needs_blockwise_assembly(self, request):
        return False

    async def render_put(self, request):
        block = request.opt.block1
        if len(request.payload) > 64 or block is not None and block.size_exponent > self.SIZE:
            answer = Message(code=Code.REQUEST_ENTITY_TOO_LARGE)
            answer.opt.block1 = (0, False, self.SIZE)
            return answer
        if block is None:
            self.body = request.payload
            return Message(code=Code.CHANGED)
        if block.block_number * block.size != (len(self.body) if block.block_number else 0):
            return Message(code=Code.REQUEST_ENTITY_INCOMPLETE)
        self.body = request.payload if block.block_number == 0 else self.body + request.payload
        code = Code.CONTINUE if block.more else Code.CHANGED
        if not block.more:
            say(f"upload {len(self.body)} bytes {digest(self.body)}")
        answer = Message(code=code)
        answer.opt.block1 = block
        return answer


class Closed(resource.Resource):
    async def needs_blockwise_assembly(self, request):
        return False

    async def render_put(self, request):
        if len(request.payload) > 256:
            return Message(code=Code.REQUEST_ENTITY_TOO_LARGE, payload=b"256 bytes at most", size1=256)
        return Message(code=Code.CHANGED)


class Odd(resource.Resource):
    async def render_get(self, request):
        answer = Message(payload=b"in a way that you do not know")
        answer.opt.add_option(OpaqueOption(OptionNumber(65001), b"x"))
        return answer


async def main():
    site = Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    count, swarm, slow, big, moving = Observable("0"), Observable("0", 3_000), Slow(), Big(), Moving()
    for name, made in {
        "value": Value(), "count": count, "swarm": swarm, "slow": slow, "error": Failing(), "big": big,
        "moving": moving, "upload": Upload(), "place": Place(), "tight": Tight(), "closed": Closed(), "odd": Odd(),
    }.items():
        site.add_resource([name], made)
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", int(sys.argv[1])))
    say("serving")
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command, *words = line.decode().split()
        if command == "count":
            count.change(words[0])
        elif command == "swarm":
            swarm.change(words[0])
        elif command == "max-age":
            count.max_age = int(words[0])
        elif command == "release":
            slow.released.set()
        elif command == "moving":
            moving.left = int(words[0])


asyncio.run(main())
