"""Time and wires: sound in, pictures out, files, server, devices. The only package with asyncio, sockets, devices."""
