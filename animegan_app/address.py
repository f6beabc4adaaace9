"""Where the app listens. Import this before Gradio, which knows no IPv6 and looks for a free port at one address only."""

import errno
import os
import socket
import sys

HOST = os.environ.pop("GRADIO_SERVER_NAME", None)
PORT = int(os.environ.get("GRADIO_SERVER_PORT") or 0) or None
"""What the environment asks for, if anything."""
PORTS = range(7860, 7960)


def free_port(host: str, port: int | None) -> int:
    """A port that can be listened at: the given one, or the first of `PORTS`. Ends the program in a sentence without one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port or PORTS[0], type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        sys.exit(f"{host!r} is no name or address that is known here: try --host 127.0.0.1, or 0.0.0.0 for all networks.")
    problem: Exception = OSError()
    for tried in [port] if port else PORTS:
        try:
            with socket.socket(family, kind, protocol) as listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
                listening.bind((address[0], tried, *address[2:]))
                return tried
        except (OSError, OverflowError) as error:  # the latter for numbers beyond 65535
            problem = error
    match getattr(problem, "errno", None):
        case errno.EADDRINUSE if port:
            sys.exit(f"Port {port} is taken, perhaps by this app: name another one with --port, or none.")
        case errno.EADDRINUSE:
            sys.exit(f"The ports {PORTS[0]} to {PORTS[-1]} are all taken: name another one with --port.")
        case errno.EACCES:
            sys.exit(f"Port {port} is for administrators: name one from 1024 with --port.")
        case errno.EADDRNOTAVAIL:
            sys.exit(f"{host} is no address of this machine: try --host 127.0.0.1, or 0.0.0.0 for all networks.")
    sys.exit(f"{host}, port {port or PORTS[0]}, cannot be listened at: {problem}.")
