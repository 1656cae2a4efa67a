"""aiocoap as a peer of the CoAP matrix: commands on standard input, events on standard output, a JSON object a line.

The language is that of src/coap_matrix/peer.rs. One context for all requests, so that the gateway sees one endpoint with
many tokens and block-wise transfers.
"""
import asyncio
import json
import sys

import aiocoap
import aiocoap.tokenmanager
from aiocoap import Code, Message

PATIENCE = 50
OBSERVATIONS = {}


def tell(client, event, **more):
    print(json.dumps({"client": client, "event": event, **more}), flush=True)


def dotted(code):
    return f"{code >> 5}.{code & 31:02}"


class Tokens(aiocoap.tokenmanager.TokenManager):
    """Those that a command asks for, else as they would be."""
    wanted = []
    own = aiocoap.tokenmanager.TokenManager.next_token

    def next_token(self):
        return Tokens.wanted.pop() if Tokens.wanted else Tokens.own(self)


aiocoap.tokenmanager.TokenManager.next_token = Tokens.next_token


def message(command):
    tuning = aiocoap.Reliable if command["confirmable"] else aiocoap.Unreliable
    made = Message(code=getattr(Code, command.get("method", "GET")), uri=command["uri"],
                   payload=command.get("payload", "").encode("latin-1"), transport_tuning=tuning)
    if command.get("format") is not None:
        made.opt.content_format = command["format"]
    if command.get("token") is not None:
        Tokens.wanted[:] = [bytes(range(0xA1, 0xA1 + command["token"]))]
    exponent = command["block"].bit_length() - 5
    if exponent > 6:
        return made  # over a stream: whole, or in blocks of BERT
    # Both are taken for the wish that they are: the size of the first block. A request that fits one has no Block1.
    if len(made.payload) > command["block"]:
        made.opt.block1 = (0, False, exponent)
    elif made.code in (Code.GET, Code.FETCH):
        made.opt.block2 = (0, False, exponent)
    return made


async def request(context, command):
    made = message(command)
    response = await asyncio.wait_for(context.request(made).response, PATIENCE)
    tell(command["client"], "response", code=dotted(response.code), payload=response.payload.decode("latin-1"))


async def observe(context, command):
    made = message(command)
    made.opt.observe = 0
    running = context.request(made)
    first = await asyncio.wait_for(running.response, PATIENCE)
    registered = first.opt.observe is not None
    tell(command["client"], "observing", code=dotted(first.code), payload=first.payload.decode("latin-1"), registered=registered)
    if registered:
        OBSERVATIONS[command["client"]] = running
        async for value in running.observation:
            tell(command["client"], "value", code=dotted(value.code), payload=value.payload.decode("latin-1"))


async def cancel(_, command):
    OBSERVATIONS.pop(command["client"]).observation.cancel()
    tell(command["client"], "cancelled")


async def carry_out(context, command):
    try:
        await globals()[command["do"]](context, command)
    except aiocoap.error.ObservationCancelled:
        pass
    except Exception as error:
        tell(command["client"], "failed", text=f"{type(error).__name__}: {error}")


async def main():
    context = await aiocoap.Context.create_client_context()
    loop = asyncio.get_running_loop()
    tasks = set()
    tell("", "ready")
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.create_task(carry_out(context, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
