"""Scenarios on aiocoap; `aiocoap_suite.py NAME` runs one and prints `ok`, or fails with what it saw."""
import asyncio
import os
import sys

import aiocoap
from aiocoap import Code, Message

BASE = f"coap://127.0.0.1:{os.environ['MOTEGATE_COAP']}"
WAIT = 20


async def request(context, code, path, payload=b"", **options):
    message = Message(code=code, uri=f"{BASE}{path}", payload=payload)
    for name, value in options.items():
        setattr(message.opt, name, value)
    return await asyncio.wait_for(context.request(message).response, WAIT)


def check(response, code, payload=None):
    assert response.code == code, f"{response.code} {response.payload}, wanted {code}"
    if payload is not None:
        assert response.payload == payload, response.payload


async def put_get_post_delete(context):
    check(await request(context, Code.GET, "/mqtt/a/b"), Code.NOT_FOUND)
    check(await request(context, Code.PUT, "/mqtt/a/b", b"1"), Code.CREATED)
    check(await request(context, Code.PUT, "/mqtt/a/b", b"2"), Code.CHANGED)
    check(await request(context, Code.GET, "/mqtt/a/b"), Code.CONTENT, b"2")
    check(await request(context, Code.POST, "/mqtt/a/b", b"not kept"), Code.CHANGED)
    check(await request(context, Code.GET, "/mqtt/a/b"), Code.CONTENT, b"2")
    check(await request(context, Code.DELETE, "/mqtt/a/b"), Code.DELETED)
    check(await request(context, Code.GET, "/mqtt/a/b"), Code.NOT_FOUND)


async def content_format_and_etag(context):
    check(await request(context, Code.PUT, "/mqtt/json", b"{}", content_format=50), Code.CREATED)
    first = await request(context, Code.GET, "/mqtt/json")
    check(first, Code.CONTENT, b"{}")
    assert first.opt.content_format == 50, first.opt.content_format
    assert first.opt.etag and len(first.opt.etag) <= 8
    valid = await request(context, Code.GET, "/mqtt/json", etags=[first.opt.etag])
    check(valid, Code.VALID, b"")
    check(await request(context, Code.PUT, "/mqtt/json", b"[]", content_format=50), Code.CHANGED)
    changed = await request(context, Code.GET, "/mqtt/json", etags=[first.opt.etag])
    check(changed, Code.CONTENT, b"[]")
    assert changed.opt.etag != first.opt.etag


async def preconditions(context):
    check(await request(context, Code.PUT, "/mqtt/x", b"1", if_none_match=True), Code.CREATED)
    check(await request(context, Code.PUT, "/mqtt/x", b"2", if_none_match=True), Code.PRECONDITION_FAILED)
    etag = (await request(context, Code.GET, "/mqtt/x")).opt.etag
    check(await request(context, Code.PUT, "/mqtt/x", b"3", if_match=[etag]), Code.CHANGED)
    check(await request(context, Code.PUT, "/mqtt/x", b"4", if_match=[etag]), Code.PRECONDITION_FAILED)
    check(await request(context, Code.GET, "/mqtt/x"), Code.CONTENT, b"3")


async def observe(context):
    check(await request(context, Code.PUT, "/mqtt/o", b"0"), Code.CREATED)
    message = Message(code=Code.GET, uri=f"{BASE}/mqtt/o", observe=0)
    running = context.request(message)
    first = await asyncio.wait_for(running.response, WAIT)
    check(first, Code.CONTENT, b"0")
    assert first.opt.observe is not None, "not registered"
    notifications = aiter(running.observation)
    numbers = [first.opt.observe]
    for number in range(1, 20):  # CON and NON notifications both
        check(await request(context, Code.PUT, "/mqtt/o", str(number).encode()), Code.CHANGED)
        got = await asyncio.wait_for(anext(notifications), WAIT)
        check(got, Code.CONTENT, str(number).encode())
        numbers.append(got.opt.observe)
    assert numbers == sorted(set(numbers)), numbers
    running.observation.cancel()


async def observe_before_the_first_value(context):
    message = Message(code=Code.GET, uri=f"{BASE}/mqtt/later", observe=0)
    running = context.request(message)
    first = await asyncio.wait_for(running.response, WAIT)
    check(first, Code.CONTENT, b"")
    check(await request(context, Code.PUT, "/mqtt/later", b"now"), Code.CREATED)
    got = await asyncio.wait_for(anext(aiter(running.observation)), WAIT)
    check(got, Code.CONTENT, b"now")
    running.observation.cancel()


async def well_known_core(context):
    check(await request(context, Code.PUT, "/mqtt/site/door", b"open"), Code.CREATED)
    links = await request(context, Code.GET, "/.well-known/core")
    check(links, Code.CONTENT)
    assert links.opt.content_format == 40, links.opt.content_format
    assert b"</mqtt" in links.payload, links.payload


async def refusals(context):
    check(await request(context, Code.GET, "/elsewhere"), Code.NOT_FOUND)
    check(await request(context, Code.FETCH, "/mqtt/a"), Code.METHOD_NOT_ALLOWED)
    check(await request(context, Code.PUT, "/mqtt/$SYS/x", b"1"), Code.BAD_REQUEST)
    check(await request(context, Code.PUT, "/mqtt/a%2Fb", b"1"), Code.BAD_REQUEST)
    check(await request(context, Code.PUT, "/mqtt/a/%2B", b"1"), Code.BAD_REQUEST)
    check(await request(context, Code.PUT, "/mqtt/a?unheard=1", b"1"), Code.BAD_REQUEST)
    proxied = Message(code=Code.GET, uri=f"{BASE}/x")
    proxied.opt.proxy_uri = "http://example.org/"
    check(await asyncio.wait_for(context.request(proxied).response, WAIT), Code.PROXYING_NOT_SUPPORTED)


async def queries(context):
    check(await request(context, Code.PUT, "/mqtt/q?retain=0", b"1"), Code.CHANGED)
    check(await request(context, Code.GET, "/mqtt/q"), Code.NOT_FOUND)
    check(await request(context, Code.POST, "/mqtt/q?retain=1", b"2"), Code.CHANGED)
    check(await request(context, Code.GET, "/mqtt/q"), Code.CONTENT, b"2")


def cbor_text(text):
    return bytes([0x60 | len(text)]) + text.encode()


async def pubsub(context):
    """A topic of the preset core-pubsub, from its making to its end."""
    properties = b"\xa2\x00" + cbor_text("hall") + b"\x02" + cbor_text("core.ps.data")
    made = await request(context, Code.POST, "/ps", properties, content_format=606)
    check(made, Code.CREATED)
    assert made.opt.content_format == 606, made.opt.content_format
    assert made.payload.startswith(b"\xa3\x00" + cbor_text("hall") + b"\x01"), made.payload
    topic = "/" + "/".join(made.opt.location_path)
    check(await request(context, Code.GET, topic, accept=606), Code.CONTENT, made.payload)
    part = await request(context, Code.FETCH, topic, b"\x81\x01", content_format=60)
    check(part, Code.CONTENT, b"\xa1\x01" + cbor_text("/ps/data/hall"))
    links = await request(context, Code.FETCH, "/ps", properties, content_format=606)
    check(links, Code.CONTENT)
    assert topic.encode() in links.payload, links.payload
    check(await request(context, Code.PATCH, topic, b"\xa0", content_format=606), Code.METHOD_NOT_ALLOWED)
    two = await request(context, Code.iPATCH, topic, b"\xa1\x06\x02", content_format=606)
    check(two, Code.CHANGED)
    assert two.payload.endswith(b"\x06\x02"), two.payload
    check(await request(context, Code.PUT, "/ps/data/hall", b"1"), Code.CREATED)
    running = context.request(Message(code=Code.GET, uri=f"{BASE}/ps/data/hall", observe=0))
    check(await asyncio.wait_for(running.response, WAIT), Code.CONTENT, b"1")
    notifications = aiter(running.observation)
    check(await request(context, Code.PUT, "/ps/data/hall", b"2"), Code.CHANGED)
    check(await asyncio.wait_for(anext(notifications), WAIT), Code.CONTENT, b"2")
    check(await request(context, Code.DELETE, topic), Code.DELETED)
    try:
        last = await asyncio.wait_for(anext(notifications), WAIT)
        check(last, Code.NOT_FOUND)
    except (StopAsyncIteration, aiocoap.error.ObservationCancelled, aiocoap.error.NotObservable):
        pass  # whichever way aiocoap says that it is over
    check(await request(context, Code.GET, "/ps/data/hall"), Code.NOT_FOUND)
    check(await request(context, Code.GET, topic), Code.NOT_FOUND)


async def emqx(context):
    """A device that was written for EMQX's gateway, in connection mode."""
    connection = "/mqtt/connection"
    check(await request(context, Code.POST, "/ps/a", b"1"), Code.BAD_REQUEST)
    refused = await request(context, Code.POST, f"{connection}?c=dev&u=admin&p=wrong")
    check(refused, Code.UNAUTHORIZED)
    made = await request(context, Code.POST, f"{connection}?clientid=dev&username=admin&password=public")
    check(made, Code.CREATED)
    shown = f"clientid=dev&token={made.payload.decode()}"
    again = await request(context, Code.POST, f"{connection}?clientid=dev&username=admin&password=public")
    check(again, Code.BAD_REQUEST)
    check(await request(context, Code.PUT, f"{connection}?{shown}"), Code.CHANGED)
    check(await request(context, Code.POST, f"/ps/a/b?{shown}&retain=true", b"kept"), Code.CHANGED)
    running = context.request(Message(code=Code.GET, uri=f"{BASE}/ps/a/%2B?{shown}&qos=1", observe=0))
    check(await asyncio.wait_for(running.response, WAIT), Code.CONTENT, b"")
    notifications = aiter(running.observation)
    check(await asyncio.wait_for(anext(notifications), WAIT), Code.CONTENT, b"kept")
    check(await request(context, Code.POST, f"/ps/a/c?{shown}&qos=1", b"2"), Code.CHANGED)
    check(await asyncio.wait_for(anext(notifications), WAIT), Code.CONTENT, b"2")
    over = Message(code=Code.GET, uri=f"{BASE}/ps/a/%2B?{shown}")
    over.opt.observe = 1
    ended = await asyncio.wait_for(context.request(over, handle_blockwise=False).response, WAIT)
    assert int(ended.code) == 0x47 and ended.payload == b"", ended
    running.observation.cancel()
    check(await request(context, Code.DELETE, f"{connection}?{shown}"), Code.DELETED)
    check(await request(context, Code.POST, f"/ps/a?{shown}", b"3"), Code.UNAUTHORIZED)


async def main():
    context = await aiocoap.Context.create_client_context()
    await globals()[sys.argv[1]](context)
    print("ok", flush=True)
    await context.shutdown()


asyncio.run(main())
