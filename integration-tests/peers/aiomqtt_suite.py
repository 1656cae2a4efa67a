"""Many short asyncio clients on aiomqtt: each comes, says one thing at each QoS and goes; prints `ok` when all was heard."""
import asyncio
import os

import aiomqtt

PORT = int(os.environ["MOTEGATE_MQTT"])
VERSIONS = [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5]
CLIENTS, AT_ONCE = 120, 20


async def listen(ready, heard):
    async with aiomqtt.Client("127.0.0.1", PORT, identifier="listener", protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("short/#", qos=2)
        ready.set()
        async for message in client.messages:
            heard.append((str(message.topic), message.payload.decode(), message.qos))
            if len(heard) == 3 * CLIENTS:
                return


async def speak(number, gate):
    async with gate:
        version = VERSIONS[number % 2]
        async with aiomqtt.Client("127.0.0.1", PORT, identifier=f"short-{number}", protocol=version) as client:
            for qos in range(3):
                await client.publish(f"short/{number}", f"{number}-{qos}", qos=qos)
        # The same name at once again, as reconnect loops do.
        async with aiomqtt.Client("127.0.0.1", PORT, identifier=f"short-{number}", protocol=version) as client:
            await client.subscribe(f"short/{number}/answer", qos=1)


async def main():
    ready, heard, gate = asyncio.Event(), [], asyncio.Semaphore(AT_ONCE)
    listener = asyncio.create_task(listen(ready, heard))
    await asyncio.wait_for(ready.wait(), 20)
    await asyncio.gather(*(speak(number, gate) for number in range(CLIENTS)))
    await asyncio.wait_for(listener, 20)
    wanted = {(f"short/{number}", f"{number}-{qos}", qos) for number in range(CLIENTS) for qos in range(3)}
    assert set(heard) == wanted and len(heard) == len(wanted), sorted(wanted.symmetric_difference(heard))
    print("ok", flush=True)


asyncio.run(main())
